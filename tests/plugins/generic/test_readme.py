"""Does what the README tells an admin and a sender to do really work, in both languages?"""

import re
from pathlib import Path
from typing import get_args

import httpx
import pytest
import respx
from gateway_plugins import generic
from gateway_plugins.generic import mappings
from gateway_plugins.generic.outbound import ActionKind
from gateway_plugins.generic.sandbox import SECRET

from gateway import yaml_text
from gateway.api import Connection, Webhook
from gateway.clock import utc_now

URL = "https://gateway.example/hooks/acme/shop"


@pytest.fixture(params=["README.md", "README.pt-BR.md"])
def readme(request) -> str:
    return (Path(generic.__file__).parent / request.param).read_text(encoding="utf-8")


def blocks(readme: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", readme, re.DOTALL)


def connections(readme: str) -> dict[str, Connection[generic.Settings]]:
    """All that are shown, with a secret where `{env: NAME}` stands for one."""
    found = {}
    for text in blocks(readme, "yaml"):
        for name, shown in yaml_text.load(text)["tenants"]["acme"]["connections"].items():
            settings = generic.Settings.model_validate(
                {**shown["settings"], **dict.fromkeys(shown["secrets"], SECRET)}
            )
            found[name] = Connection("acme", name, shown["vendor"], settings)
    return found


def test_every_connection_that_is_shown_can_be_saved(readme):
    shown = connections(readme)
    assert shown.keys() == {"shop", "cadastro", "pix", "lms", "erp"}
    assert {name for name, each in shown.items() if each.settings.is_called} == {"pix", "erp"}


def test_every_ready_mapping_is_explained(readme):
    section = readme.partition("## ")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)[1:] == [
        "typeform", "google_forms", "pagarme", "iugu", "mercado_pago", "vindi",
    ]  # fmt: skip
    assert {*re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)[1:]} == set(mappings.names())


def test_every_kind_of_action_is_named(readme):
    (kinds,) = re.findall(r"`(create_ticket [\w ]+)`", readme)
    assert tuple(kinds.split()) == get_args(ActionKind)


def test_its_mapping_can_be_saved_and_its_sender_is_believed(readme):
    connection, sender = connections(readme)["shop"], {}
    exec(blocks(readme, "python")[0], sender)
    document = {"type": "payment.confirmed", "data": {"id": "pay_7", "amount": "1.530,75", "source": "loja"}}
    with respx.mock:
        route = respx.post(URL).mock(httpx.Response(202))
        sender["tell"](URL, SECRET, document)
        request = route.calls.last.request
    webhook = Webhook(dict(request.headers), request.content, received_at=utc_now())
    assert generic.verify_webhook(webhook, connection).delivery_id == request.headers["webhook-id"]
    (event,) = generic.convert_webhook(webhook, None, None, connection)
    assert (event.id, event.payment.amount_minor) == ("payment.confirmed:pay_7", 153075)
    assert event.customer.custom_fields == {"source": "loja"}


def test_it_explains_every_function_there_is_beyond_jmespath(readme):
    own = {
        name.removeprefix("_func_")
        for name in vars(generic.expression.Functions)
        if name.startswith("_func_")
    }
    assert own == set(re.findall(r"^\| `(\w+)\(", readme, re.MULTILINE))


def test_both_languages_show_the_same_code():
    folder = Path(generic.__file__).parent
    english, portuguese = (
        (folder / name).read_text(encoding="utf-8") for name in ("README.md", "README.pt-BR.md")
    )
    fences = re.compile(r"```.*?```", re.DOTALL)
    assert fences.findall(english) == fences.findall(portuguese)
