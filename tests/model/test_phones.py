"""Does the phone finder read what people type, and leave their other numbers alone?"""

import csv
import re
import time
from pathlib import Path

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.api import Phone, find_phones
from gateway.model.phones import MAX_NUMBERS, MAX_TEXT

SENTENCES = Path(__file__).with_name("phone_sentences.csv")
UNSEEN = Path(__file__).with_name("phone_sentences_unseen.csv")
"""Written when the finder was finished, and never used to improve it."""


def labelled_sentences(sentences: Path) -> list[tuple[str, frozenset[str]]]:
    """Invented sentences with the numbers (national digits) that a careful reader would dial."""
    with sentences.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="|", quoting=csv.QUOTE_NONE))
    return [
        (
            row["text"].replace("\\n", "\n").replace("\\t", "\t"),
            frozenset("+55" + number for number in row["phones"].split()),
        )
        for row in rows
    ]


def numbers(text: str, **options: bool) -> tuple[str, ...]:
    return tuple(phone.e164 for phone in find_phones(text, **options))


@pytest.mark.parametrize("sentences", [SENTENCES, UNSEEN], ids=["known", "unseen"])
def test_precision_and_recall_on_labelled_sentences(sentences, record_property):
    sentences = labelled_sentences(sentences)
    right = wrong = missed = 0
    mistakes = []
    for text, expected in sentences:
        found = frozenset(numbers(text))
        right += len(found & expected)
        wrong += len(found - expected)
        missed += len(expected - found)
        if found != expected:
            mistakes.append(f"{text!r}: wrong {sorted(found - expected)}, missed {sorted(expected - found)}")
    precision, recall = right / (right + wrong), right / (right + missed)
    figures = (
        f"{len(sentences)} sentences, {right + missed} numbers: "
        f"precision {precision:.4f}, recall {recall:.4f}\n" + "\n".join(mistakes)
    )
    record_property("figures", figures)  # `pytest --junitxml` shows them
    assert len(sentences) >= 300, figures
    assert sum(not expected for _, expected in sentences) >= 150, figures
    assert precision >= 0.98, figures
    assert recall >= 0.98, figures


NO_PHONES = {
    "CPF": r"\bcpf\b|\d{3}\.\d{3}\.\d{3}-\d\d",
    "CNPJ": r"cnpj|\d\d\.\d{3}\.\d{3}/\d{4}-\d\d",
    "CEP": r"\bcep\b|\b\d{5}-\d{3}\b",
    "date": r"\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}|\d{4}-\d\d-\d\d",
    "protocol": r"\bprot",
    "boleto": r"boleto|linha|barras|guia|\d{5}\.\d{5} \d{5}",
}


@pytest.mark.parametrize("kind", NO_PHONES)
def test_the_other_long_numbers_of_brazilians_are_no_phones(kind):
    pattern = re.compile(NO_PHONES[kind], re.IGNORECASE)
    found = [
        numbers(text)
        for text, expected in labelled_sentences(UNSEEN)
        if pattern.search(text) and not expected
    ]
    assert len(found) >= 12, "too few to tell"
    assert sum(map(bool, found)) <= 1, "one in a dozen at most is taken for a phone"


def test_a_phone_says_its_number_how_it_was_typed_and_whether_it_is_mobile():
    assert find_phones("Fixo (11) 3555-0101, cel 11 9 5555 0102") == (
        Phone("+551135550101", "(11) 3555-0101", is_mobile=False),
        Phone("+5511955550102", "11 9 5555 0102", is_mobile=True),
    )


def test_a_number_written_twice_is_given_once_in_the_order_of_the_text():
    assert numbers("21 3555-0102, (11) 3555-0101, 011 3555 0101") == ("+552135550102", "+551135550101")


def test_a_bare_number_that_passes_for_a_cpf_counts_only_where_something_says_phone():
    assert numbers("11955550166") == ()
    assert numbers("celular 11955550166") == ("+5511955550166",)
    assert numbers("11955550166", labelled=True) == ("+5511955550166",)
    assert numbers("11955550165") == ("+5511955550165",)  # its check digits are wrong for a CPF
    assert numbers("CPF 11955550166", labelled=True) == ()  # also in a phone field


@pytest.mark.parametrize(
    "text",
    ["(11) 95555-0101 só whats", "https://wa.me/5511955550101", "(11) 95555-0101 wa.me/5511955550101"],
)
def test_numbers_kept_for_whatsapp_are_told_apart(text):
    assert numbers(text) == ()
    assert numbers(text, whatsapp_only=True) == ("+5511955550101",)


def test_a_number_that_is_also_called_a_telephone_is_not_kept_for_whatsapp_by_a_link():
    text = "Tel (11) 95555-0101 https://wa.me/5511955550101"
    assert numbers(text) == ("+5511955550101",)
    assert numbers(text, whatsapp_only=True) == ()


@pytest.mark.parametrize(
    "link",
    [
        "wa.me/99955550101",
        "wa.me/12125550101",
        "api.whatsapp.com/send?phone=00000000000",
        "wa.me/message/ABC",
    ],
)
def test_a_whatsapp_link_without_a_number_of_the_country_gives_nothing(link):
    assert numbers(link) == ()
    assert numbers(link, whatsapp_only=True) == ()


def test_words_far_from_a_number_do_not_keep_it_for_whatsapp():
    far = "x" * 60
    assert numbers(f"só whats {far} (11) 3555-0101") == ("+551135550101",)
    assert numbers(f"(11) 3555-0101 {far} só whats") == ("+551135550101",)


def test_a_short_text_is_not_searched_and_a_long_one_only_in_its_beginning():
    assert numbers("190") == ()
    assert numbers(" " * MAX_TEXT + "(11) 3555-0101") == ()
    assert numbers(" " * (MAX_TEXT - 20) + "(11) 3555-0101 ") == ("+551135550101",)


def test_no_more_numbers_are_read_than_the_cap():
    text = " ; ".join(f"(11) 3555-{n:04d}" for n in range(MAX_NUMBERS + 50))
    assert len(numbers(text)) == MAX_NUMBERS


def test_another_country_has_its_own_numbers_and_no_brazilian_habits():
    assert [phone.e164 for phone in find_phones("+351 912 345 678 ou 912.345.678", "PT")] == ["+351912345678"]
    assert find_phones("(11) 3555-0101", "PT") == ()


HOSTILE = [
    "1 ", "(11) ", "1135550199 ", "11-", "1.1", "1,", "a.", "a-", "a@", "só no ", "só no whats ", "wa.me/1",
    "11 95555-0101 só whats ", "ddd 11 ", "x" * 64 + ".", "1111 ", "_1", "\u0301", "\n",
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE, ids=repr)
def test_a_text_made_to_be_slow_takes_time_in_proportion_to_its_length(unit):
    """Ten times the text takes about ten times as long; a pattern that backtracks takes a hundred times."""
    long = (unit * MAX_TEXT)[:MAX_TEXT]
    assert seconds(long) <= 50 * max(seconds(long[: MAX_TEXT // 10]), 0.001)


def seconds(text: str) -> float:
    def once() -> float:
        start = time.process_time()
        find_phones(text)
        return time.process_time() - start

    return min(once() for _ in range(2))


typed_by_people = st.text(alphabet="0123456789 ()+-./,:;\n*#@só whatspcfdtelwa.me/R$ºxX", max_size=120)


@given(st.text(max_size=200) | typed_by_people)
@example("+" * 50 + "1" * 50)
@example("wa.me/" + "9" * 15)
def test_whatever_the_text_each_number_is_valid_and_on_one_side_only(text):
    calls, chats = find_phones(text), find_phones(text, whatsapp_only=True)
    assert not {phone.e164 for phone in calls} & {phone.e164 for phone in chats}
    for phone in (*calls, *chats):
        assert phonenumbers.is_valid_number_for_region(phonenumbers.parse(phone.e164), "BR")
    assert find_phones(text) == calls


SHAPES = [
    "({ddd}) {head}-{tail}", "{ddd} {head} {tail}", "{ddd}{head}{tail}", "+55 {ddd} {head}-{tail}",
    "+55{ddd}{head}{tail}", "0{ddd} {head}-{tail}", "0xx{ddd} {head}-{tail}", "(0xx{ddd}) {head}-{tail}",
    "{ddd}.{head}.{tail}", "{ddd}-{head}-{tail}", "0 15 {ddd} {head} {tail}", "ddd {ddd}, {head}-{tail}",
]  # fmt: skip


@given(
    st.sampled_from(SHAPES), st.sampled_from(["11", "21", "35", "48", "61", "85", "99"]),
    st.sampled_from(["3555", "2555", "95555"]), st.integers(100, 199),
)  # fmt: skip
def test_a_number_in_any_of_the_usual_shapes_is_found(shape, ddd, head, tail):
    typed = shape.format(ddd=ddd, head=head, tail=f"{tail:04d}")
    assert numbers(f"Bom dia, meu telefone é {typed}, obrigado.") == (f"+55{ddd}{head}{tail:04d}",)
