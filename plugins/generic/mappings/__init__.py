"""Which ready mappings are there? Each is a file here: the settings of a connection, all but its secrets."""

from functools import lru_cache
from importlib.resources import files
from typing import Any

from gateway.api import JSON


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """What may stand in the setting `mapping`."""
    found = (each.name for each in files(__package__).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml")))


@lru_cache(maxsize=32)
def ready(name: str) -> dict[str, JSON]:
    """The settings in that file, as `tenants.yaml` would have them."""
    import yaml  # slow to import, and only needed where there is such a connection

    text = (files(__package__) / f"{name}.yaml").read_text(encoding="utf-8")
    told: dict[str, Any] = yaml.safe_load(text)
    return told
