"""What does a form-encoded body say? `data[id]=7&data[tags][]=a`, as PHP and Rails nest it."""

import re
from typing import Any
from urllib.parse import parse_qsl

from gateway.api import JSON

MOST_FIELDS = 1000
MOST_STEPS = 10
_KEY = re.compile(r"(?P<name>[^\[\]]+)(?P<steps>(?:\[[^\[\]]*\])*)")
_STEP = re.compile(r"\[([^\[\]]*)\]")


def read_form(body: bytes) -> dict[str, JSON]:
    """The fields as an object; every value is text. Raises ValueError."""
    told: dict[str, JSON] = {}
    for key, value in parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS):
        match = _KEY.fullmatch(key)
        steps = [match["name"], *_STEP.findall(match["steps"])] if match else [key]
        if len(steps) > MOST_STEPS:
            raise ValueError(f"a field is nested deeper than {MOST_STEPS}")
        _put(told, steps, value)
    if not told:
        raise ValueError("no form fields")
    return told


def _put(told: dict[str, Any], steps: list[str], value: str) -> None:
    """`[]` adds to a list; any other step names a part. The same name again takes the later value."""
    here: Any = told
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        new: Any = value if following is None else [] if following == "" else {}
        if isinstance(here, list):
            if step != "":
                raise ValueError("a field is a list in one place and not in another")
            here.append(new)
            here = new
        elif following is None:
            here[step] = new
        else:
            here = here.setdefault(step, new)
            if type(here) is not type(new):
                raise ValueError(f"the field {step!r} is a value in one place and has parts in another")
