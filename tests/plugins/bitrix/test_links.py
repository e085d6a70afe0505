"""A link names something of the portal by all of its parts, or nothing at all."""

from typing import Any
from urllib.parse import quote

import pytest
from gateway_plugins import bitrix
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import Connection

P = "https://acme.bitrix24.com.br"
TASK = "/company/personal/user/{}/tasks/task/view/{}/"

ACCEPTED = [
    # CRM cards, new and old
    (f"{P}/crm/deal/details/1234/", "deal", "deal:1234", f"{P}/crm/deal/details/1234/"),
    (f"{P}/crm/deal/details/1234", "deal", "deal:1234", f"{P}/crm/deal/details/1234/"),
    (f"{P}/crm/deal/show/1234/", "deal", "deal:1234", f"{P}/crm/deal/details/1234/"),
    (f"{P}/crm/lead/details/77/", "lead", "lead:77", f"{P}/crm/lead/details/77/"),
    (f"{P}/crm/contact/details/305/", "contact", "contact:305", f"{P}/crm/contact/details/305/"),
    (f"{P}/crm/company/details/9/", "company", "company:9", f"{P}/crm/company/details/9/"),
    (f"{P}/crm/quote/details/5/", "quote", "quote:5", f"{P}/crm/quote/details/5/"),
    (f"{P}/extranet/crm/deal/details/12/", "deal", "deal:12", f"{P}/crm/deal/details/12/"),
    # smart processes, the smart invoice, custom sections; a type that has a name of its own is called by it
    (f"{P}/crm/type/1040/details/9/", "spa", "spa:1040:9", f"{P}/crm/type/1040/details/9/"),
    (f"{P}/crm/type/31/details/5/", "spa", "spa:31:5", f"{P}/crm/type/31/details/5/"),
    (f"{P}/crm/type/2/details/1234/", "deal", "deal:1234", f"{P}/crm/deal/details/1234/"),
    (f"{P}/page/vendas/obras/type/1040/details/9/", "spa", "spa:1040:9", f"{P}/crm/type/1040/details/9/"),
    # tasks: anybody's, nobody's, a group's, the extranet's, at a comment
    (P + TASK.format(15, 8899), "task", "task:8899", P + TASK.format(0, 8899)),
    (P + TASK.format(0, 8899), "task", "task:8899", P + TASK.format(0, 8899)),
    (f"{P}/workgroups/group/31/tasks/task/view/8899/", "task", "task:8899", P + TASK.format(0, 8899)),
    (f"{P}/extranet/workgroups/group/31/tasks/task/view/8899/", "task", "task:8899", P + TASK.format(0, 8899)),
    (f"{P}/extranet/contacts/personal/user/7/tasks/task/view/8899/", "task", "task:8899", P + TASK.format(0, 8899)),
    (P + TASK.format(15, 8899) + "?MID=7001#com7001", "task", "task:8899", P + TASK.format(0, 8899)),
    (P + TASK.format(15, 8899) + "?commentId=7001", "task", "task:8899", P + TASK.format(0, 8899)),
    # chats
    (f"{P}/online/?IM_DIALOG=chat4321", "chat", "chat:4321", f"{P}/online/?IM_DIALOG=chat4321"),
    (f"{P}/online/?IM_DIALOG=chat4321&IM_MESSAGE=60002", "chat", "chat:4321", f"{P}/online/?IM_DIALOG=chat4321"),
    (f"{P}/online?IM_DIALOG=chat4321", "chat", "chat:4321", f"{P}/online/?IM_DIALOG=chat4321"),
    (f"{P}/online/?IM_LINES=chat4321", "chat", "chat:4321", f"{P}/online/?IM_DIALOG=chat4321"),
    (f"{P}/online/?IM_LINES=4321", "chat", "chat:4321", f"{P}/online/?IM_DIALOG=chat4321"),
    (f"{P}/online/?IM_DIALOG=15", "user", "user:15", f"{P}/online/?IM_DIALOG=15"),
    (
        f"{P}/online/?IM_DIALOG=imol%7Cacme_whats%7C3%7C5511999990000%7C905", "chat",
        "chat:imol|acme_whats|3|5511999990000|905",
        f"{P}/online/?IM_DIALOG=imol%7Cacme_whats%7C3%7C5511999990000%7C905",
    ),
    (
        f"{P}/online/?IM_DIALOG=imol|livechat|1|88|905", "chat", "chat:imol|livechat|1|88|905",
        f"{P}/online/?IM_DIALOG=imol%7Clivechat%7C1%7C88%7C905",
    ),
    (f"{P}/online/?IM_HISTORY=imol%7C777", "session", "session:777", f"{P}/online/?IM_HISTORY=imol%7C777"),
    (
        f"{P}/contact_center/dialog_list/?IM_HISTORY=imol%7C777", "session", "session:777",
        f"{P}/online/?IM_HISTORY=imol%7C777",
    ),
    # the telephone's
    (f"{P}/mobile/crm/deal/?page=view&deal_id=1234", "deal", "deal:1234", f"{P}/crm/deal/details/1234/"),
    # what browsers and people add
    (f"{P}/crm/deal/details/12/?IFRAME=Y&IFRAME_TYPE=SIDE_SLIDER", "deal", "deal:12", f"{P}/crm/deal/details/12/"),
    (f"{P}/crm/deal/details/12/?nome=João", "deal", "deal:12", f"{P}/crm/deal/details/12/"),
    ("HTTPS://ACME.Bitrix24.com.br/crm/deal/details/1234/", "deal", "deal:1234", f"{P}/crm/deal/details/1234/"),
    ("https://acme.bitrix24.com.br.:443/crm/deal/details/1234/", "deal", "deal:1234", f"{P}/crm/deal/details/1234/"),
]  # fmt: skip

REJECTED = {
    "a host that goes on": "https://acme.bitrix24.com.br.evil.com/crm/deal/details/1234/",
    "a host that begins before": "https://fakeacme.bitrix24.com.br/crm/deal/details/1234/",
    "no portal at all": "https://fakebitrix24.com.br/crm/deal/details/1234/",
    "the portal of somebody else": "https://other.bitrix24.com.br/crm/deal/details/1234/",
    "another zone": "https://acme.bitrix24.com/crm/deal/details/1234/",
    "a subdomain of the portal": "https://x.acme.bitrix24.com.br/crm/deal/details/1234/",
    "no https": "http://acme.bitrix24.com.br/crm/deal/details/1234/",
    "the portal as a user's name": "https://acme.bitrix24.com.br@evil.com/crm/deal/details/1234/",
    "credentials in front": "https://a:b@acme.bitrix24.com.br/crm/deal/details/1234/",
    "another port": "https://acme.bitrix24.com.br:8443/crm/deal/details/1234/",
    "a port that is none": "https://acme.bitrix24.com.br:port/crm/deal/details/1234/",
    "a backslash before the real host": "https://acme.bitrix24.com.br\\.evil.com/crm/deal/details/1234/",
    "letters that look alike": "https://аcme.bitrix24.com.br/crm/deal/details/1234/",
    "letters that are folded into it": "https://ａcme.bitrix24.com.br/crm/deal/details/1234/",
    "a customer's website": "https://acme.bitrix24.site/crm/deal/details/1234/",
    "a shop": "https://acme.bitrix24.shop/crm/deal/details/1234/",
    "the network's login": "https://acme.bitrix24.net/crm/deal/details/1234/",
    "a public page": "https://bitrix24public.com/acme/crm/deal/details/1234/",
    "inside the query of another address": f"https://evil.com/?u={P}/crm/deal/details/1234/",
    "the form for a new one": f"{P}/crm/deal/details/0/",
    "an id with a zero in front": f"{P}/crm/deal/details/01234/",
    "an id that is no number": f"{P}/crm/deal/details/12a/",
    "an id longer than any": f"{P}/crm/deal/details/{'9' * 20}/",
    "a negative id": f"{P}/crm/deal/details/-1/",
    "digits of another script": f"{P}/crm/deal/details/١٢/",
    "a list": f"{P}/crm/deal/list/",
    "the kanban": f"{P}/crm/deal/kanban/category/3/",
    "a pipeline": f"{P}/crm/deal/category/3/",
    "an unknown card": f"{P}/crm/order/details/7/",
    "a path that goes on": f"{P}/crm/deal/details/1234/edit/",
    "somebody's tasks": f"{P}/company/personal/user/15/tasks/",
    "a group's tasks": f"{P}/workgroups/group/31/tasks/",
    "a task to be edited": f"{P}/company/personal/user/15/tasks/task/edit/8899/",
    "the bare messenger": f"{P}/online/",
    "the messenger with nothing asked": f"{P}/online/?IM_DIALOG=",
    "a dialog in digits of another script": f"{P}/online/?IM_DIALOG=chat١٢",
    "an unknown dialog": f"{P}/online/?IM_DIALOG=sg12",
    "a line that is none": f"{P}/online/?IM_LINES=Y",
    "two dialogs": f"{P}/online/?IM_DIALOG=chat1&IM_DIALOG=chat2",
    "a user's code with a part too few": f"{P}/online/?IM_DIALOG=imol%7Cacme_whats%7C3%7C551199",
    "a dialog where only sessions are": f"{P}/contact_center/dialog_list/?IM_DIALOG=chat4321",
    "the desktop application": f"{P}/desktop_app/?IM_LINES=Y",
    "the desktop's deep link": "bx://v2/acme.bitrix24.com.br/chat/4321",
    "a public part": f"{P}/pub/crm/deal/details/1234/",
    "REST": f"{P}/rest/15/some-secret/crm.deal.get?id=1234",
    "REST of the third version": f"{P}/rest/api/15/some-secret/tasks.task.get",
    "REST below which a card seems to lie": f"{P}/rest/15/some-secret/crm/deal/details/1234/",
    "dot segments": f"{P}/crm/lead/../deal/details/1234/",
    "dot segments in disguise": f"{P}/crm/%2e%2e/crm/deal/details/1234/",
    "a slash in disguise": f"{P}/crm%2Fdeal/details/1234/",
    "a backslash in disguise": f"{P}/crm%5cdeal/details/1234/",
    "an empty segment": f"{P}//crm/deal/details/1234/",
    "mobile, but a list": f"{P}/mobile/crm/deal/?page=list",
    "mobile, and the id of another kind": f"{P}/mobile/crm/deal/?page=view&lead_id=7",
    "longer than any": f"{P}/crm/deal/details/1234/?{'x' * 2048}",
    "a broken IPv6 host": "https://[::1/crm/deal/details/1234/",
}


def found(text: str, **settings: Any) -> list[tuple[str, str, str]]:
    given = {
        "portal_host": "acme.bitrix24.com.br", "user_id": 15, "webhook_secret": "some-secret",
        "application_token": "some-token", **settings,
    }  # fmt: skip
    connection: Connection[bitrix.Settings] = Connection("t1", "b24", "bitrix", bitrix.Settings(**given))
    references = bitrix.find_references(text=text, connection=connection)
    assert all(each.connection == "b24" for each in references)
    return [(each.kind, each.id, each.url) for each in references]


@pytest.mark.parametrize(("link", "kind", "id_", "url"), ACCEPTED)
def test_every_shape_of_a_link_names_its_card_and_is_written_anew(link, kind, id_, url):
    assert found(link) == [(kind, id_, url)]
    assert found(url) == [(kind, id_, url)], "the new address names the same"


@pytest.mark.parametrize("link", REJECTED.values(), ids=REJECTED.keys())
def test_everything_else_names_nothing(link):
    assert found(link) == []
    assert found(f"veja {link} por favor") == []


@pytest.mark.parametrize(
    "around",
    [
        "Segue: {}", "({})", "[{}]", "<{}>", "{}.", "{}, ok?", "{}; certo", '"{}"', "**{}**", "{}\nfim",
        '<p>Negócio: <a href="{}" target="_blank">aqui</a></p>', "<a href='{}'>x</a>", "[url={}]negócio[/url]",
        "[url]{}[/url]", "[negócio]({})", "&lt;a href=&quot;{}&quot;&gt;x&lt;/a&gt;", "{}!", "`{}`",
    ],
)  # fmt: skip
def test_a_link_is_found_in_whatever_stands_around_it(around):
    for link in (f"{P}/crm/deal/details/12/", f"{P}/online/?IM_DIALOG=chat4321&amp;IM_MESSAGE=5"):
        assert len(found(around.format(link))) == 1


def test_a_redirector_names_nothing_but_the_text_beside_it_does():
    inner = f"{P}/crm/deal/details/12/"
    redirected = f'<a href="https://links.example/?u={quote(inner, safe="")}">{inner}</a>'
    assert found(redirected) == [("deal", "deal:12", inner)]
    assert found(f'<a href="https://links.example/?u={quote(inner, safe="")}">aqui</a>') == []


def test_each_card_is_named_once_in_the_order_of_the_text():
    text = f"{P}/crm/deal/show/2/ {P}/crm/lead/details/1/ {P}/crm/deal/details/2/?x=1"
    assert [id_ for _, id_, _ in found(text)] == ["deal:2", "lead:1"]


def test_of_a_flood_of_links_the_first_two_hundred_are_looked_at():
    text = " ".join(f"{P}/crm/deal/details/{number}/" for number in range(1, 300))
    assert [id_ for _, id_, _ in found(text)] == [f"deal:{number}" for number in range(1, 201)]


def test_an_address_of_the_rest_api_is_never_repeated():
    text = f"{P}/rest/15/some-secret/crm.deal.get?id=1 {P}/crm/deal/details/1/"
    assert found(text) == [("deal", "deal:1", f"{P}/crm/deal/details/1/")]


def test_links_to_a_former_host_count_and_lead_to_the_present_one():
    link = "https://velha.bitrix24.com.br/crm/deal/details/1/"
    assert found(link) == []
    assert found(link, former_hosts=["Velha.bitrix24.com.br"]) == [
        ("deal", "deal:1", f"{P}/crm/deal/details/1/")
    ]


def test_a_portal_of_ones_own_may_have_a_port_and_a_path():
    here = {"portal_host": "intranet.acme.example:8443", "base_path": "/b24"}
    link = "https://intranet.acme.example:8443/b24/crm/deal/details/1/"
    assert found(link, **here) == [("deal", "deal:1", link)]
    for other in (
        "https://intranet.acme.example/b24/crm/deal/details/1/",
        "https://intranet.acme.example:8443/crm/deal/details/1/",
        "https://intranet.acme.example:8443/b24x/crm/deal/details/1/",
    ):
        assert found(other, **here) == [], other


@given(st.text(max_size=300))
def test_no_text_is_too_odd(text):
    assert isinstance(found(text), list)


@given(st.text(alphabet="htps:/.acmebitrix24combr%@#?&=[]<>\"' crmdealdetails0123456789|\\", max_size=200))
def test_whatever_is_named_lies_at_the_portal(text):
    for _, _, url in found(text + f" {P}/" + text):
        assert url.startswith(P + "/")
        assert "/rest/" not in url


@given(st.integers(1, 10**19 - 1), st.sampled_from(["deal", "lead", "contact", "company", "quote"]))
def test_every_id_is_read_back_as_it_was(number, kind):
    assert found(f"x {P}/crm/{kind}/details/{number}/.") == [
        (kind, f"{kind}:{number}", f"{P}/crm/{kind}/details/{number}/")
    ]
