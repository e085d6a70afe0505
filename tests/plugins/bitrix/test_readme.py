"""Does the admin's page say what the plugin does, in both languages?"""

import re
from pathlib import Path

import pytest
import yaml
from gateway_plugins import bitrix
from gateway_plugins.bitrix.accept import THIN, TOLD
from gateway_plugins.bitrix.forms import DEEPEST, LARGEST, MOST_KEYS
from gateway_plugins.bitrix.links import references

FOLDER = Path(bitrix.__file__).parent
PAGES = [FOLDER / "README.md", FOLDER / "README.pt-BR.md"]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page, language):
    return [text for name, text in FENCE.findall(page.read_text()) if name == language]


def table(page, heading):
    """The rows below the heading, without the first."""
    section = page.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip().strip("|").strip() for line in section.splitlines() if line.startswith("|")][2:]
    return [re.split(r" (?<!\\)\| ", row) for row in rows]


@each_page
def test_the_example_of_a_connection_is_valid(page):
    (text,) = blocks(page, "yaml")
    given = yaml.safe_load(text)["connections"]["bitrix"]
    settings = bitrix.Settings.model_validate(
        {**given["settings"], **dict.fromkeys(given["secrets"], "a-secret")}
    )
    assert (given["vendor"], settings.groups) == ("bitrix", {"Implantação": 31})
    assert settings.hosts() == {"acme.bitrix24.com.br", "b24-a1b2c3.bitrix24.com.br"}


@each_page
def test_every_event_to_be_ticked_is_understood(page):
    told = set(re.findall(r"`(ON[A-Z]+)`", page.read_text()))
    assert {"ONCRMDEALUPDATE", "ONTASKCOMMENTADD", "ONSESSIONFINISH"} <= told
    assert told - {"ONAPPINSTALL"} <= {*THIN, *TOLD, "ONVOXIMPLANTCALLEND"}


@each_page
def test_the_links_of_the_page_name_what_it_says(page, connection):
    heading = "Names and links" if page == PAGES[0] else "Nomes e links"
    rows = table(page, heading)
    assert len(rows) == 7
    for links, named in rows:
        kind, _, start = named.strip("`").replace("\\|", "|").rstrip(".").partition(":")
        for path in re.findall(r"`(/[^`]+)`", links):
            url = f"https://acme.bitrix24.com.br{path}".replace("\\|...", "|acme|3|55|9").replace("\\|", "|")
            (found,) = references(url, connection)
            assert found.id.startswith(f"{kind}:{start}"), path


@each_page
def test_the_limits_of_a_body_are_those_of_the_code(page):
    fields = f"{MOST_KEYS:,}" if page == PAGES[0] else f"{MOST_KEYS:,}".replace(",", ".")
    assert re.search(rf"{LARGEST // 1024} KiB, {re.escape(fields)} \w+, {DEEPEST} ", page.read_text())


def test_both_languages_have_the_same_shape():
    english, portuguese = (re.findall(r"^#+ ", page.read_text(), re.MULTILINE) for page in PAGES)
    assert english == portuguese
    for language in ("", "yaml"):
        assert len(blocks(PAGES[0], language)) == len(blocks(PAGES[1], language))
    assert [row[0] for row in table(PAGES[0], "Actions")] == [row[0] for row in table(PAGES[1], "Ações")]


def test_the_checklist_is_the_same_and_leaves_nothing_to_do():
    english, portuguese = table(PAGES[0], "Checklist"), table(PAGES[1], "Lista de verificação")
    assert len(english) == 13
    assert [(line, state.partition(":")[0]) for line, state in english] == [
        (line, state.partition(":")[0]) for line, state in portuguese
    ]
    for _, state in english:
        assert state == "done" or re.fullmatch(r"exempt: .+", state)
