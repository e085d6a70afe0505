"""What is installed is what is in the folders, no less and no more."""

import fnmatch
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import gateway_rules
import pytest

import gateway
from gateway.store.database import MIGRATIONS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
FOLDERS = {folder: name for name, folder in SETUPTOOLS["package-dir"].items()}
"""Folder at the top of the repository -> import name."""


def installed_files() -> set[str]:
    """What belongs to the three packages, by the name that it has once it is installed."""
    found = set()
    for folder, name in FOLDERS.items():
        for path in (ROOT / folder).rglob("*"):
            inside = path.relative_to(ROOT / folder)
            if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in inside.parts):
                found.add(f"{name}/{inside.as_posix()}")
    return found


def test_the_packages_listed_by_hand_are_the_folders_with_python_files() -> None:
    folders = {
        name.rpartition("/")[0].replace("/", ".") for name in installed_files() if name.endswith(".py")
    }
    assert sorted(SETUPTOOLS["packages"]) == sorted(folders)


def test_every_file_that_is_not_python_is_named_as_package_data() -> None:
    patterns = [pattern for patterns in SETUPTOOLS["package-data"].values() for pattern in patterns]
    names = [name.rpartition("/")[2] for name in installed_files() if not name.endswith(".py")]
    assert names
    assert [n for n in names if not any(fnmatch.fnmatch(n, pattern) for pattern in patterns)] == []


def test_each_vendor_folder_is_an_entry_point() -> None:
    folders = {path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py")}
    entry_points = PROJECT["project"]["entry-points"]["gateway.vendors"]
    assert entry_points == {name: f"gateway_plugins.{name}" for name in folders}


def test_each_rule_file_is_listed_in_rules() -> None:
    files = {path.stem for path in (ROOT / "rules").glob("*.py")} - {"__init__"}
    assert {module.__name__.rpartition(".")[2] for module in gateway_rules.RULES} == files
    assert PROJECT["project"]["entry-points"]["gateway.rules"] == {"rules": "gateway_rules"}


def test_the_version_is_said_once_in_two_places() -> None:
    assert gateway.__version__ == PROJECT["project"]["version"]


def test_every_revision_stands_in_a_line_from_the_first_to_the_head() -> None:
    files = sorted(path.stem for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    assert [name.partition("_")[0] for name in files] == [f"{n:04}" for n in range(1, len(files) + 1)]


@pytest.mark.slow
def test_the_wheel_has_every_file(tmp_path: Path) -> None:
    """Built in a copy: a build in the tree would leave `build/`, from which deleted modules come back."""
    source = tmp_path / "source"
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            str(tmp_path),
            str(source),
        ],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        packed = {name for name in content.namelist() if ".dist-info/" not in name}
    assert packed == installed_files()
