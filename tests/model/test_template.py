"""An admin's message template: what it can say, and the harm it cannot do."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateError
from pydantic import BaseModel, ValidationError

from gateway.model.customer import Customer
from gateway.model.facts import Facts, Tenant
from gateway.model.template import MAX_LENGTH, Template, check_template, render

CUSTOMER = Customer(id="c", name="Padaria <Exemplo>", phones=("+551135550199",), mrr_minor=99000)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("Olá, {{ customer.name }}", "Olá, Padaria <Exemplo>"),
        ("{% if customer.plan %}{{ customer.plan }}{% else %}sem plano{% endif %}", "sem plano"),
        ("{% for phone in customer.phones %}{{ loop.index }}: {{ phone }}{% endfor %}", "1: +551135550199"),
        ("{{ customer.mrr_minor | money }}", "R$ 990,00"),
        ("{{ customer.mrr_minor | money('USD') }}", "USD 990,00"),
        ("{{ customer.phones | join(', ') }}", "+551135550199"),
        ("{{ (customer.mrr_minor * 12) | money }}", "R$ 11.880,00"),
        ("{{ customer.mrr_minor // 100 % 7 }}", "3"),
        ("{% set first = customer.name.split(' ')[0] %}{{ first | upper }}", "PADARIA"),
        ("{{ customer.plan or 'nenhum' }}", "nenhum"),
        ("{{ '%s' }} 100%", "%s 100%"),
    ],
)
def test_it_says_what_the_facts_say(template, said):
    assert render(template, customer=CUSTOMER) == said


def test_what_is_put_in_may_be_changed_on_the_way_but_not_the_text_around_it():
    def loud(value: object) -> str:
        return "" if value is None else str(value).upper()

    assert render("/a/{{ word }}/{{ none }}", finalize=loud, word="b", none=None) == "/a/B/"
    assert render("/a/{{ word }}", word="b") == "/a/b"


def test_any_name_may_be_spoken_of():
    assert render("{{ is_html }} {{ finalize }}", {"is_html": 1, "finalize": "<"}, is_html=True) == "1 &lt;"


@pytest.mark.parametrize(
    ("minor", "shown"),
    [
        (153075, "R$ 1.530,75"),
        (0, "R$ 0,00"),
        (5, "R$ 0,05"),
        (-153075, "R$ -1.530,75"),
        (123456789012, "R$ 1.234.567.890,12"),
        (None, "-"),
    ],
)
def test_money_is_written_as_in_brazil(minor, shown):
    assert render("{{ minor | money }}", minor=minor) == shown


def test_in_html_what_comes_from_outside_is_escaped_and_the_template_is_not():
    assert render("<b>{{ name }}</b>", is_html=True, name="<script>") == "<b>&lt;script&gt;</b>"
    assert render("<b>{{ name }}</b>", is_html=False, name="<script>") == "<b><script></b>"


def test_an_unknown_name_is_an_error_and_not_an_empty_word():
    for template in ("{{ custmer }}", "{{ customer.nome }}", "{{ customer.name.first }}"):
        with pytest.raises(TemplateError, match=r"undefined|no attribute"):
            render(template, customer=CUSTOMER)


@pytest.mark.parametrize(
    "template",
    [
        "{{ customer.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ customer.name.__init__.__globals__ }}",
        "{{ (customer | attr('__class__')).__mro__ }}",
        "{{ customer['__class__'] }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ joiner.__init__.__globals__ }}",
        "{{ namespace.__init__ }}",
        "{{ '{0.__class__.__mro__}'.format(customer) }}",
        "{{ ('{0.__class__}' | format(customer)) ~ '{0.__class__}'.format_map({'0': customer}) }}",
        "{% for m in [[]] | map(attribute='__class__') %}{{ m.__mro__ }}{% endfor %}",
        "{{ customer.model_copy(update={}).__dict__ }}",
        "{{ render.__globals__ }}",
        "{{ lipsum.__globals__['os'] }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% extends '/etc/passwd' %}",
    ],
)
def test_no_template_gets_at_python_or_at_files(template):
    with pytest.raises((TemplateError, TypeError)):
        render(template, customer=CUSTOMER, render=render)


def test_facts_cannot_be_changed_from_a_template():
    with pytest.raises(TemplateError):
        render("{% set _ = items.append(1) %}", items=[1])
    with pytest.raises(TemplateError):
        render("{% set _ = fields.update({'a': 1}) %}", fields={})


@pytest.mark.parametrize(
    "template",
    [
        "{% for n in range(10**9) %}x{% endfor %}",
        "{{ lipsum(n=1000) }}",
        "{{ 'x' * 10**10 }}",
        "{{ 10**10**10 }}",
        "{{ [1] * 10**10 }}",
        "{{ '%01000000000d' % 1 }}",
        "{{ '%01000000000d' | format(1) }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ 'x'.ljust(10000000000) }}",
        "{{ 'x'.center(10000000000) }}",
        "{{ 'x' | center(10000000000) }}",
        "{{ 'x' | indent(10000000000, true) }}",
        "{{ [1] | batch(10000000000, 'x') | list }}",
        "{{ [1] | slice(10000000000) | list }}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
        "{% for x in [1, 2] recursive %}{% if loop.depth < 60 %}{{ loop([1, 2]) }}{% endif %}{% endfor %}",
        "{% for a in 'xx' %}{% for b in 'xx' %}{% for c in 'xx' %}x{% endfor %}{% endfor %}{% endfor %}",
    ],
)
def test_no_template_runs_or_grows_for_ever(template):
    with pytest.raises(TemplateError):
        render(template)


def test_no_template_throws_dice():
    with pytest.raises(ValueError, match="random"):
        check_template("{{ [1, 2, 3] | random }}")


def test_what_it_says_ends_somewhere():
    assert len(render("{% for x in data %}{{ x }}{% endfor %}", data=["y" * 100] * 1000)) == MAX_LENGTH


class Letter(BaseModel):
    text: Template = "Olá, {{ customer.name }}"


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ customer.name", r"line 1.*unexpected end"),
        ("a\n{% if x %}", r"line 2"),
        ("{% loop %}", "unknown tag"),
        ("{{ x | nofilter }}", "nofilter"),
        ("{{ " + "(" * 500 + "1" + ")" * 500 + " }}", "nested too deeply"),
        ("{{ " + "9" * 5000 + " }}", "too large"),
        ("{% if x %}" * 200 + "{% endif %}" * 200, "nested too deeply"),
    ],
)
def test_a_bad_template_is_refused_when_it_is_saved_and_says_where(template, why):
    with pytest.raises(ValidationError, match=why):
        Letter(text=template)


@given(st.text())
def test_any_text_is_either_refused_or_kept_as_it_is(text):
    try:
        kept = check_template(text)
    except ValueError as error:
        kept = str(error)
    assert kept == text or kept.startswith("bad template")


def test_facts_render_in_the_tenants_time_and_with_its_ticket():
    facts = Facts(
        tenant=Tenant(id="acme", name="Acme"), now=datetime(2026, 3, 2, 15, 0, tzinfo=UTC), customer=CUSTOMER
    )
    said = facts.render("{{ tenant.name }} {{ now.strftime('%H:%M') }} {{ day.isoformat() }} {{ customer.name }}",
                        is_html=True, day=facts.now.date() + timedelta(days=1))  # fmt: skip
    assert said == "Acme 12:00 2026-03-03 Padaria &lt;Exemplo&gt;"
