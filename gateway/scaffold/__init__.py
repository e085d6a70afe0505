"""How does a new vendor begin? With a folder that already passes the conformance suite, to be changed bit by bit.

The templates beside this file are a whole plugin for an invented helpdesk called demo_desk; its name is replaced.
"""

import keyword
import re
import sys
from collections.abc import Collection
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from gateway.model.errors import InvalidConfiguration

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST = 40

TEMPLATES = {
    "pyproject.toml.txt": "pyproject.toml",
    "gitignore.txt": ".gitignore",
    "README.md.txt": "README.md",
    "README.pt-BR.md.txt": "README.pt-BR.md",
    "init.py.txt": "demo_desk/__init__.py",
    "accept.py.txt": "demo_desk/accept.py",
    "collect.py.txt": "demo_desk/collect.py",
    "convert.py.txt": "demo_desk/convert.py",
    "execute.py.txt": "demo_desk/execute.py",
    "sandbox.py.txt": "demo_desk/sandbox.py",
    "py.typed.txt": "demo_desk/py.typed",
    "test_conformance.py.txt": "tests/test_conformance.py",
    "created.json.txt": "tests/fixtures/created.json",
    "changed.json.txt": "tests/fixtures/changed.json",
}
"""Template -> file in the new folder."""


def check_name(name: str, taken: Collection[str]) -> None:
    """Raises InvalidConfiguration unless the name suits a Python package, an entry point and a connection."""
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        what = f"{name!r} is not a vendor's name: lower-case words joined by _, e.g. demo_desk, at most {LONGEST} long"
        raise InvalidConfiguration(what)
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise InvalidConfiguration(f"{name!r} is a word of Python's own: choose another name")
    if name in taken:
        raise InvalidConfiguration(f"a vendor called {name!r} is installed already: choose another name")
    if name in ("tests", "gateway") or name in sys.stdlib_module_names or find_spec(name) is not None:
        raise InvalidConfiguration(f"there is a Python module called {name!r} already: choose another name")


def write_vendor(name: str, into: Path) -> Path:
    """Write the folder `into`/`name` and return it. Raises InvalidConfiguration when it exists or cannot be made."""
    folder = into / name
    if folder.exists() or folder.is_symlink():
        raise InvalidConfiguration(f"{folder} exists already: nothing was written")
    try:
        for template, place in TEMPLATES.items():
            path = folder / _named(place, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            text = (files(__name__) / template).read_text(encoding="utf-8")
            path.write_text(_named(text, name), encoding="utf-8")
    except OSError as error:
        raise InvalidConfiguration(f"{folder} cannot be written: {error.strerror or error}") from None
    return folder


def _named(text: str, name: str) -> str:
    label = name.replace("_", " ").title()
    return (
        text.replace("demo_desk", name)
        .replace("demo-desk", name.replace("_", "-"))
        .replace("DEMO_DESK", name.upper())
        .replace("Demo Desk", label)
    )
