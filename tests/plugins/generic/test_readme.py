"""Does what the README tells an admin and a sender to do really work, in both languages?"""

import re
from pathlib import Path

import httpx
import pytest
import respx
import yaml
from gateway_plugins import generic
from gateway_plugins.generic.sandbox import SECRET

from gateway.api import Connection, Webhook
from gateway.clock import utc_now

URL = "https://gateway.example/hooks/acme/shop"


@pytest.fixture(params=["README.md", "README.pt-BR.md"])
def readme(request) -> str:
    return (Path(generic.__file__).parent / request.param).read_text(encoding="utf-8")


def block(readme: str, language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", readme, re.DOTALL)
    return found


def shop(readme: str) -> Connection[generic.Settings]:
    example = yaml.safe_load(block(readme, "yaml"))["tenants"]["acme"]["connections"]["shop"]
    settings = generic.Settings.model_validate({**example["settings"], "secret": SECRET})
    assert example["secrets"].keys() == {"secret"}
    return Connection("acme", "shop", example["vendor"], settings)


def test_its_mapping_can_be_saved_and_its_sender_is_believed(readme):
    connection, sender = shop(readme), {}
    exec(block(readme, "python"), sender)
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
