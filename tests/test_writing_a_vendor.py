"""Does docs/writing-a-vendor.md say what happens? Its commands, files, names and examples are tried."""

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from gateway import registry, scaffold, tenants_file
from gateway.api import Priority, Status
from gateway.testing import serving
from gateway.testing.under_test import ACTIONS, PROOFS, VendorUnderTest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "writing-a-vendor.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINES = [line for language, block in FENCE.findall(TEXT) if language == "sh" for line in block.splitlines()]


def blocks(language: str) -> list[str]:
    return [block for named, block in FENCE.findall(TEXT) if named == language]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What `gateway new vendor demo_desk` writes, on the path."""
    written = scaffold.write_vendor("demo_desk", tmp_path_factory.mktemp("tour"))
    sys.path.insert(0, str(written))
    yield written
    sys.path.remove(str(written))
    for name in [name for name in sys.modules if name.partition(".")[0] == "demo_desk"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def plugin(folder: Path) -> ModuleType:
    return importlib.import_module("demo_desk")


def test_it_begins_with_the_command_that_writes_the_folder() -> None:
    assert LINES[:2] == ["gateway new vendor demo_desk", "cd demo_desk"]


def test_the_files_it_explains_are_those_that_are_written(folder: Path) -> None:
    told = {name for row in re.findall(r"^\| (`.*?`) \| ", TEXT, re.MULTILINE) for name in row.split("`")}
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    unremarkable = {".gitignore", "demo_desk/py.typed"} | {name for name in written if "fixtures/" in name}
    assert {name for name in written if "__pycache__" not in name} - unremarkable <= told


def test_the_tour_is_of_a_valid_tenants_file(plugin: ModuleType) -> None:
    (text,) = blocks("yaml")
    (export,) = [line for line in LINES if line.startswith("export ")]
    environment = dict(word.split("=", 1) for word in shlex.split(export)[1:])
    installed = registry.assemble({"demo_desk": plugin}, {})
    reading = tenants_file.read(text.encode(), ROOT, environment, installed)
    assert reading.notes == ()
    assert list(reading.tenants["acme"]["connections"]) == ["desk"]


def test_what_is_posted_to_the_sandbox_is_taken(plugin: ModuleType) -> None:
    """With the address of the sandbox that the test serves in place of the tour's."""
    (command,) = [line for line in LINES if line.startswith("uvicorn ")]
    module, _, factory = shlex.split(command)[2].partition(":")
    posts = [shlex.split(line) for line in LINES if line.startswith("curl --json ")]
    assert len(posts) == 2
    with serving(getattr(importlib.import_module(module), factory)()) as url:
        for _, _, body, address in posts:
            answer = httpx.post(address.replace("http://127.0.0.1:9010", url), json=json.loads(body))
            assert answer.is_success
        (ticket,) = httpx.get(f"{url}/_sandbox/tickets").json()
    assert ticket["tags"] == ["core"]


def test_the_parts_of_the_suite_that_it_names_are_there(folder: Path) -> None:
    chosen = [shlex.split(line) for line in LINES if line.startswith("pytest -k ")]
    assert len(chosen) == 4
    for command in chosen:
        ran = subprocess.run(
            [sys.executable, "-m", *command, "--collect-only", "-q", "-p", "no:cacheprovider"],
            cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, check=True, capture_output=True, text=True,
        )  # fmt: skip
        found = {line.partition("::test_")[2].partition("[")[0] for line in ran.stdout.splitlines()} - {""}
        alternatives = command[2].split(" or ")
        assert [word for word in alternatives if not any(word in name for name in found)] == []


def test_what_is_to_be_given_is_what_the_suite_looks_at() -> None:
    _, _, table = TEXT.partition("| you give | what for |\n|---|---|\n")
    rows = table.partition("\n\n")[0].splitlines()
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    own = {name for name, value in vars(VendorUnderTest).items() if not name.startswith("_")}
    machinery = {
        "pytest_generate_tests", "account", "name", "registry", "secrets", "samples_of", "verified", "converted",
        "assert_harmless",
    }  # fmt: skip
    elsewhere = {"acts", "people", "examples", "look", "new_contact", "actions"}
    assert told == ({*own, *VendorUnderTest.__annotations__} - machinery - elsewhere)


def test_the_declarations_shown_are_such(plugin: ModuleType) -> None:
    declared: dict[str, Any] = {"Status": Status, "Priority": Priority}
    for block in blocks("python"):
        exec(compile(block, "writing-a-vendor.md", "exec"), declared)
    assert declared["unsupported"].keys() <= {*ACTIONS, *PROOFS}
    assert declared["repeatable"].keys() <= set(ACTIONS)
    assert all(isinstance(word, Status | Priority) for word in declared["becomes"])
    assert all(f"`{proof}`" in TEXT for proof in PROOFS)
    assert declared["ReaderConformance"].acts is False
