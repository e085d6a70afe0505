"""Does the admin's page say what the plugin does, in both languages?"""

import re
from pathlib import Path

import pytest
import yaml
from gateway_plugins import freshdesk
from gateway_plugins.freshdesk.hint import Change, Hint, read

FOLDER = Path(freshdesk.__file__).parent
PAGES = [FOLDER / "README.md", FOLDER / "README.pt-BR.md"]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page, language, containing=""):
    return [text for name, text in FENCE.findall(page.read_text()) if name == language and containing in text]


def table(page, heading):
    """The rows below the heading, without the first."""
    section = page.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [line.strip("| \n").split(" | ") for line in section.splitlines() if line.startswith("|")][2:]


@each_page
def test_the_example_of_a_connection_is_valid(page):
    (text,) = blocks(page, "yaml")
    given = yaml.safe_load(text)["connections"]["freshdesk"]
    secrets = dict.fromkeys(given["secrets"], "a-secret")
    settings = freshdesk.Settings.model_validate({**given["settings"], **secrets})
    assert settings.agent("43000002").email == "ana@acme.example"
    assert given["vendor"] == "freshdesk"


@each_page
@pytest.mark.parametrize(("event", "triggered", "hint"), [
    ("ticket_created", "{ticket_action:created}",
     Hint("4711", Change("ticket_action", None, "created"), "ticket_created")),
    ("ticket_updated", "{status:{from:2,to:4}}", Hint("4711", Change("status", "2", "4"), "ticket_updated")),
    ("ticket_updated", "", Hint("4711", None, "ticket_updated")),
    ("ticket_deleted", "{ticket_action:delete}",
     Hint("4711", Change("ticket_action", None, "delete"), "ticket_deleted", deletes=True)),
])  # fmt: skip
def test_the_template_is_read_as_it_was_meant(page, event, triggered, hint):
    (template,) = blocks(page, "", "freshdesk_webhook")
    assert f'"event":"{event}"' in page.read_text()
    filled = template.replace("ticket_created", event)
    for placeholder, value in (
        ("{{ticket.id}}", "4711"), ("{{triggered_event}}", triggered), ("{{helpdesk_name}}", "Acme"),
    ):  # fmt: skip
        filled = filled.replace(placeholder, value)
    assert read(filled.encode()) == hint


def test_both_languages_have_the_same_shape():
    english, portuguese = (re.findall(r"^#+ ", page.read_text(), re.MULTILINE) for page in PAGES)
    assert english == portuguese
    for language in ("", "yaml"):
        assert len(blocks(PAGES[0], language)) == len(blocks(PAGES[1], language))
    assert [row[0] for row in table(PAGES[0], "Actions")] == [row[0] for row in table(PAGES[1], "Ações")]


def test_the_checklist_is_the_same_and_leaves_nothing_to_do():
    english = table(PAGES[0], "Checklist")
    portuguese = table(PAGES[1], "Lista de verificação")
    assert len(english) == 13
    assert [(line, state.partition(":")[0]) for line, state in english] == [
        (line, state.partition(":")[0]) for line, state in portuguese
    ]
    for _, state in english:
        assert state == "done" or re.fullmatch(r"exempt: .+", state)
