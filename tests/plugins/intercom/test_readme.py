"""Does the admin's page say what the plugin does, in both languages?"""

import re
from pathlib import Path

import pytest
import yaml
from gateway_plugins import intercom
from gateway_plugins.intercom import topics

FOLDER = Path(intercom.__file__).parent
PAGES = [FOLDER / "README.md", FOLDER / "README.pt-BR.md"]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
HEADINGS = {"README.md": ("Actions", "Checklist"), "README.pt-BR.md": ("Ações", "Lista de verificação")}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page, language):
    return [text for name, text in FENCE.findall(page.read_text()) if name == language]


def table(page, heading):
    """The rows below the heading, without the first."""
    section = page.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [line.strip("| \n").split(" | ") for line in section.splitlines() if line.startswith("|")][2:]


@each_page
def test_the_example_of_a_connection_is_valid(page):
    (text,) = blocks(page, "yaml")
    given = yaml.safe_load(text)["connections"]["chat"]
    assert given["vendor"] == "intercom"
    secrets = dict.fromkeys(given["secrets"], "a-secret")
    assert intercom.Settings.model_validate({**given["settings"], **secrets}).own_ids() == {"700"}


@each_page
def test_every_topic_to_subscribe_to_is_understood(page):
    named = set(re.findall(r"`((?:conversation|ticket|contact)(?:_part)?\.[a-z._]+)`", page.read_text()))
    assert len(named) > 30
    assert named <= topics.ABOUT_TICKETS | topics.CONTACTS


@each_page
def test_every_setting_worth_knowing_exists_with_its_default(page):
    fields = intercom.Settings.model_fields
    for name, default in re.findall(r"\*\*`(\w+)`\*\* \(`?([\w.]+)`?\)", page.read_text()):
        shown = {"on": "True", "ligado": "True"}.get(default, default)
        assert str(fields[name].default) == shown, name
    assert set(re.findall(r"^- \*\*`(\w+)`\*\*", page.read_text(), re.MULTILINE)) <= fields.keys()


@each_page
def test_the_sandbox_is_described_as_it_is(page):
    last = page.read_text().rpartition("\n\n")[2]
    for word in ("sandbox-token", "sandbox-secret", "abc123", "700", "701", "702", "801", "802", "29", "30"):
        assert word in last


def test_both_languages_have_the_same_shape():
    english, portuguese = (
        re.findall(r"^#+ |^\d\. |^- |^\| ", page.read_text(), re.MULTILINE) for page in PAGES
    )
    assert english == portuguese
    rows = [[row[0] for row in table(page, HEADINGS[page.name][0])] for page in PAGES]
    assert rows[0] == rows[1]


def test_the_checklist_is_the_same_and_leaves_nothing_to_do():
    english, portuguese = (table(page, HEADINGS[page.name][1]) for page in PAGES)
    assert english == portuguese
    assert [state for _, state in english] == ["done"] * 13
