"""Which vendor can do what, and does it pass? `python docs/vendors.py` runs every suite and prints one table."""

import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

from facts import vendors

ROOT = Path(__file__).parent.parent


def passed(name: str, report: Path) -> str:
    """How many tests of the vendor's suite passed, of how many."""
    suite = ROOT / "tests" / "plugins" / name / "test_conformance.py"
    if not suite.exists():
        return "no suite"
    command = [sys.executable, "-m", "pytest", "-q", str(suite), f"--junit-xml={report}"]
    subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)  # noqa: S603
    told = ET.parse(report).getroot().find("testsuite")  # noqa: S314 - pytest wrote it just now
    if told is None:
        return "not run"
    tests, bad = int(told.attrib["tests"]), int(told.attrib["failures"]) + int(told.attrib["errors"])
    return f"{tests - bad - int(told.attrib['skipped'])}/{tests}"


def main() -> None:
    head, ruler, *rows = vendors("all").splitlines()
    sys.stdout.write(f"{head} conformance |\n{ruler}---|\n")
    with tempfile.TemporaryDirectory() as folder:
        for row in rows:
            name = row.split()[1]
            sys.stdout.write(f"{row} {passed(name, Path(folder) / 'report.xml')} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
