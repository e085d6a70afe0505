"""Does `gateway new vendor` write a plugin that passes the conformance suite at once, and never spoil anything?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import scaffold
from gateway.cli import main
from gateway.model.errors import InvalidConfiguration

STYLE = ["--isolated", "--no-cache", "--line-length", "110", "--target-version", "py311"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scaffold.write_vendor("demo_desk", tmp_path_factory.mktemp("new"))


def run(*command: str, inside: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=inside, check=False, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(inside)},
    )  # fmt: skip


def test_the_new_vendor_passes_its_own_suite(folder: Path) -> None:
    """Not installed, only on the path; in a process of its own."""
    ran = run("pytest", "-q", "-p", "no:cacheprovider", inside=folder)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    passed, words = ran.stdout.splitlines()[-1].split()[:2]
    assert words == "passed"
    assert int(passed) > 80


def test_the_new_vendor_is_in_good_style(folder: Path) -> None:
    rules = "F,E,W,I,N,UP,B,C4,PIE,SIM,RET,PERF,FURB,RUF,S,BLE,DTZ"
    ignored = "S101,S105,S106,S107,RUF001,RUF012,N818"
    checked = run("ruff", "check", *STYLE, "--select", rules, "--ignore", ignored, ".", inside=folder)
    assert checked.returncode == 0, checked.stdout
    formatted = run("ruff", "format", "--check", *STYLE, ".", inside=folder)
    assert formatted.returncode == 0, formatted.stdout


def test_nothing_of_the_template_s_name_remains(tmp_path: Path) -> None:
    folder = scaffold.write_vendor("help_hub2", tmp_path)
    for path in folder.rglob("*"):
        assert "demo" not in str(path.relative_to(tmp_path)).lower()
        assert path.is_dir() or "demo" not in path.read_text().lower(), path
    assert 'help_hub2 = "help_hub2"' in (folder / "pyproject.toml").read_text()
    assert 'label="Help Hub2"' in (folder / "help_hub2" / "__init__.py").read_text()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "lower-case words"), ("Desk", "lower-case words"), ("my-desk", "lower-case words"),
        ("2desk", "lower-case words"), ("desk_", "lower-case words"), ("a__b", "lower-case words"),
        ("../desk", "lower-case words"), ("mesa\n", "lower-case words"), ("a" * 41, "at most 40"),
        ("class", "Python's own"), ("match", "Python's own"), ("zendesk", "installed already"),
        ("json", "Python module"), ("gateway", "Python module"), ("tests", "Python module"),
        ("httpx", "Python module"),
    ],
)  # fmt: skip
def test_a_name_that_does_not_suit_is_refused_in_one_line(name: str, why: str) -> None:
    with pytest.raises(InvalidConfiguration, match=why) as refused:
        scaffold.check_name(name, {"zendesk"})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["demo_desk", "acme", "desk24", "minha_mesa_de_ajuda"])
def test_a_good_name_is_taken(name: str) -> None:
    scaffold.check_name(name, {"zendesk"})


def test_what_exists_is_not_overwritten(tmp_path: Path) -> None:
    precious = tmp_path / "demo_desk" / "accept.py"
    precious.parent.mkdir()
    precious.write_text("mine")
    with pytest.raises(InvalidConfiguration, match="exists already: nothing was written"):
        scaffold.write_vendor("demo_desk", tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["demo_desk", "accept.py"]
    assert precious.read_text() == "mine"


def test_a_place_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidConfiguration, match="cannot be written: Not a directory"):
        scaffold.write_vendor("demo_desk", tmp_path / "file")


def test_every_template_is_written_somewhere() -> None:
    beside = {path.name for path in Path(scaffold.__file__).parent.glob("*.txt")}
    assert beside == set(scaffold.TEMPLATES)


def test_the_command_says_what_it_wrote_and_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gateway", "new", "vendor", "demo_desk", "--into", str(tmp_path)])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 0
    *written, following = capsys.readouterr().out.splitlines()
    assert {line.strip() for line in written} == {
        str(path) for path in (tmp_path / "demo_desk").rglob("*") if path.is_file()
    }
    assert following == f"Next: cd {tmp_path / 'demo_desk'} && pip install -e '.[test]' && pytest"


@pytest.mark.parametrize("name", ["zendesk", "My Desk"])
def test_the_command_refuses_in_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gateway", "new", "vendor", name, "--into", str(tmp_path)])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
