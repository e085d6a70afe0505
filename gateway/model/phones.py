"""Which conventional telephone numbers does a text contain, as people type them?

`phonenumbers` finds and validates. Around it stands only what a general library cannot know: how Brazilians
write numbers, which other long numbers they write, and how they say that a number is for WhatsApp alone.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from phonenumbers import (
    Leniency,
    NumberParseException,
    PhoneNumber,
    PhoneNumberFormat,
    PhoneNumberMatch,
    PhoneNumberMatcher,
    PhoneNumberType,
    format_number,
    is_possible_number,
    is_valid_number_for_region,
    number_type,
    parse,
)

MAX_TEXT = 20_000
"""Characters looked at; what follows is mostly quoted e-mail."""
MAX_NUMBERS = 200
NEAR = 60
"""How many characters before a number may say what it is."""
MARK_REACH = 40
"""How many characters may lie between a number and the words that keep it for WhatsApp."""

CONVENTIONAL = frozenset(
    {PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
)


@dataclass(frozen=True, slots=True)
class Phone:
    """A number that can be dialled: `e164` (`+551135550199`), and `typed`, the way the text has it."""

    e164: str
    typed: str
    is_mobile: bool


@dataclass(frozen=True, slots=True)
class _Mention:
    phone: Phone
    start: int
    end: int
    label: str | None


# All patterns below read folded text: lower case, without accents. Every repetition is bounded or anchored,
# so that no text takes longer than its length deserves.

_GONE = " § "
_INVISIBLE = frozenset({"Mn", "Me", "Cf"})  # accents once decomposed, keycaps, zero-width characters

_NOT_PHONES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?:https?://|www\.)\S+",
        r"(?<![\w.-])(?:[a-z0-9-]{1,63}\.){1,4}[a-z]{2,10}/\S*",
        r"(?<![\w.+-])[\w.+-]{0,64}@[\w.-]+",
        r"(?<!\w)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?!\w)",
        r"#\s?\d+",
        r"(?<!\S)\d\)(?=\s)",  # 1) 2) 3)
        r"(?<!\w)(?!tel|fone|cel|ddd|whats|zap|phone)[a-z]{2,6}\d{0,6}[-/_]\d{5,}",
        r"(?:r\$|us\$|u\$|€|\bbrl|\busd)\s?\d[\d.,]*",
        r"(?<![\d.,])\d[\d.,]*\s?(?:%|reais\b|real\b|mil\b|milhoes\b)",
        r"(?<![\d.,])\d[\d.]*,\d\d(?!\d)",
        r"(?<!\d)(?:0?[1-9]|[12]\d|3[01])(?P<s>[/.-])(?:0?[1-9]|1[0-2])(?P=s)(?:\d{4}|\d\d)(?!\d|(?P=s)\d)",
        r"(?<!\d)(?:19|20)\d\d-\d\d-\d\d(?!\d)",
        r"(?<![\d/])\d{1,2}/\d{1,2}(?![\d/])",
        r"(?<!\d)\d{1,2}:\d\d(?::\d\d)?(?!\d)",
        r"(?<!\d)\d{1,2}\s?(?:h|hs|hrs?|horas?)(?:\d\d)?(?!\w)",
        r"(?<!\w)(?:as|dia|sala|apto?|andar|item|parcela|versao)\s\d{1,2}(?!\d)",
        r"(?<!\d)\d{4}(?P<c>[ .-]?)\d{4}(?P=c)\d{4}(?P=c)\d{4}(?!\d)",  # cards
        r"(?<!\d)\d{4}[ .-]\d{6}[ .-]\d{5}(?!\d)",
        r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![.\d])",
        r"(?<![\d.])-?\d{1,3}\.\d{4,}(?=\s?,)",  # coordinates
    )
)
_NOT_PHONES_IN_BRAZIL = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<!\d)\d\d\.?\d{3}\.?\d{3}/\d{4}-?\d\d(?!\d)",  # CNPJ
        r"(?<!\d)\d{3}[. ]?\d{3}[. ]?\d{3}[-/]\d\d(?!\d)",  # CPF
        r"(?<!\d)\d{3}(?P<p>[. ])\d{3}(?P=p)\d{3}[. ]\d\d(?!\d)",
        r"(?<!\d)\d{3}\.\d{5}\.\d\d-\d(?!\d)",  # PIS
        r"(?<!\d)\d{1,2}\.\d{3}\.\d{3}-[\dx](?!\d)",  # RG
        r"(?<!\d)\d\d\.?\d{3}-\d{3}(?!\d)",  # CEP
        r"(?<!\d)\d{7}-\d\d\.\d{4}\.\d\.\d\d\.\d{4}(?!\d)",  # court cases
        r"(?<!\d)\d{5}\.?\d{5}\s\d{5}\.?\d{6}\s\d{5}\.?\d{6}\s\d\s\d{14}(?!\d)",  # boletos: bank slips,
        r"(?<!\d)(?:\d{11}[- ]?\d\s{0,2}){4}(?!\d)",  # taxes and utilities
        r"(?<!\d)(?:\d{4}[ .]){5,}\d{4}(?!\d)",  # keys of invoices
        r"(?<!\d)\d{16,}",
        r"(?<![\d.])\d{1,3}(?:\.\d{3})+(?:,\d+)?(?![\d.-])",  # 1.135.550,19
    )
)

_DIALLED = r"9?[ .]?\d{4}[ .-]{0,3}\d{4}(?!\d)"
_RESPELLED_IN_BRAZIL = tuple(
    (re.compile(pattern), respelled)
    for pattern, respelled in (
        (r"(?<=\d)_(?=\d)", " "),
        (r"(?<!\d)\+\s{1,3}(?=\d)", "+"),
        (r"(?<!\d)9090\s?(?=\(?\d\d)", ""),  # reversed charges
        (r"(?<![\d+])0055\s?(?=[\d(])", "+55 "),
        (r"(?<!\w)(tel|fone|cel|celular|telefone|zap|whats)(?=\d)", r"\1 "),
        (r"(?<=\d{4})(?=(?:tel|fone|cel|zap|whats|ramal|falar))", " "),
        (r"(?<!\w)\(?0?\s?(?:xx|\*\*)\s?\(?(\d\d)\)?", r"(0\1)"),
        (
            r"(?<!\w)ddd\s?[:=]?\s?\(?0?(\d\d)\)?[\s,;:/-]{1,4}"
            rf"(?:(?:[eoa]|tel\w{{0,8}}|fone|cel\w{{0,6}}|numero|no?)[\s:.]{{1,3}}){{0,3}}(?={_DIALLED})",
            r"(\1) ",
        ),
        (rf"(?<![\d) .-])\s?({_DIALLED})[\s,-]{{0,3}}\(?\s?ddd\s?:?\s?\(?0?(\d\d)\)?", r" (\2) \1"),
        (rf"(?<![\d) .-])\s({_DIALLED})\s?\((\d\d)\)(?!\s?9?\s?\d)", r" (\2) \1"),
        (rf"(?<![\d,.:/-])\(?(0?\d\d)\)?\s?[,:;]\s?(?={_DIALLED})", r"(\1) "),
        (rf"(\d{{4}}[ .-]?\d{{4}})\s{{1,3}}(?=\(?0?\d\d\)?\s?{_DIALLED})", r"\1 ; "),
    )
)

_CALLS = (
    r"telefones?|telefonico|tels?|telef|fones?|phones?|celular(?:es)?|cels?|fixos?|lig(?:ar|ue|uem|a|uei|o|acao|acoes)"
    r"|contatos?|recados?|ramal|call|mobile|disque|discar|retorn\w{1,5}"
)
_CHATS = r"whats\w{0,6}|wats\w{0,4}|wpp|wapp|zaps?|zapzap"
_CLEAR = (
    r"cpfs?|cnpj|cep|rg|pis|nis|cnh|nsu|imei|nf-?e?|pix|protocolos?|prot|pedidos?|boletos?|contratos?|matriculas?"
    r"|linha digitavel|codigo de barras|nire|suframa|rastreio|rastreamento|inscricao"
)
_VAGUE = (
    r"ids?|ie|im|os|ag|cod|codigo|doc|documento|ref|referencia|order|ordem|compra|venda|notas?|faturas?|chave|conta"
    r"|agencia|chamado|ticket|processo|titulo|lote|serie|serial|cartao|transacao|autorizacao|comprovante|orcamento"
    r"|proposta|senha|token|ean|sku|guia|apolice|patrimonio|registro|cadastro|log|login|usuario|user|versao|backup|cfop|ncm|crea|crm"
)
_FILLER = r"(?:e|eh|o|a|foi|sera|seria|numero|nosso|num|nr|n|no|final|com|fiscal|d[aeo]s?\s\w{1,12}|is)"
_LABEL = re.compile(
    rf"(?<![a-z0-9])(?:(?P<calls>{_CALLS})|(?P<chats>{_CHATS})|(?P<clear>{_CLEAR})|(?P<vague>{_VAGUE}))(?![a-z0-9])"
)
_UP_TO_NUMBER = re.compile(rf"\W{{0,3}}(?:{_FILLER}\W{{1,3}}){{0,4}}$")
_OF = re.compile(r"\W{1,2}(?:d[aeo]s?|n[ao]s?|para|p|of)\s(?:[oa]s?\s)?$")
_AFTERWARDS = re.compile(r"\W{0,3}(?:e\s|eh\s|is\s)?(?:(?:o|a|meu|minha|my|seu|numero|n|no|d[aeo])\s){0,4}$")

_ONLY = r"(?:so|somente|apenas|unicamente|exclusiv[oa]|exclusivamente|only)"
_ALONE = (
    r"no|na|pelo|pela|por|via|pra|para|p|o|de|do|em|e|eh|com|me|atend\w{1,4}|respond\w{1,4}|fal\w{1,4}|us\w{1,3}|tem|tenho"
    r"|receb\w{1,3}|contato|cham\w{1,4}|funciona|este|esse|numero"
)
_WHATSAPP_ONLY = re.compile(
    rf"(?<!\w)(?P<denied>nao\s(?:e\s|eh\s)?)?{_ONLY}\s(?:(?:{_ALONE})\s){{0,4}}"
    rf"(?:{_CHATS}|mensage\w{{1,2}}|msgs?)(?!\w)"
    rf"|(?<!\w)(?:{_CHATS})\s(?:{_ONLY})(?=\s*(?:[).,;:!]|$))"
    r"|(?<!\w)nao\s(?:recebe|aceita|faz)\s(?:\w{1,8}\s)?(?:ligac\w{1,4}|chamad\w{1,3})",
    re.MULTILINE,
)
_WHATSAPP_LINK = re.compile(r"(?:wa\.me|whatsapp\.com)/\S{0,40}?(?<!\d)(\d{10,15})(?!\d)")
_APART = re.compile(r"[,;/.\n)]|(?<!\w)(?:e|ou)(?!\w)")
_INTRODUCES = re.compile(r"\s?[:=]")


def find_phones(
    text: str, region: str = "BR", *, labelled: bool = False, whatsapp_only: bool = False
) -> tuple[Phone, ...]:
    """The fixed and mobile numbers of `region` in `text`, each once, in the order of the text.

    :param labelled: the text is the content of a phone field: eleven bare digits are not taken for a CPF
    :param whatsapp_only: give instead those that the text keeps for WhatsApp ("só whats", a `wa.me` link)
    """
    folded = _folded(text[:MAX_TEXT])
    if sum(character.isdigit() for character in folded) < 7:  # no national number anywhere is shorter
        return ()
    linked = _linked(folded, region)
    plain = _prepared(folded, region)
    mentions = [m for m in _mentions(plain, region, labelled) if m.label != "other"]
    called = {m.phone.e164 for m in mentions if m.label == "calls"}
    reserved = _marked(plain, mentions) | (linked.keys() - called)
    phones: dict[str, Phone] = {}
    for phone in (*(m.phone for m in mentions), *linked.values()):
        phones.setdefault(phone.e164, phone)
    return tuple(phone for e164, phone in phones.items() if (e164 in reserved) == whatsapp_only)


def _folded(text: str) -> str:
    """Lower case, without accents, invisible characters and exotic spaces."""
    plain = unicodedata.normalize("NFKD", text)
    kept = (character for character in plain if unicodedata.category(character) not in _INVISIBLE)
    return "".join(kept).casefold().replace("\r\n", "\n").replace("\t", " ")


def _prepared(folded: str, region: str) -> str:
    """The text without what is surely no phone, and Brazilian habits spelled as the library reads them."""
    brazilian = region == "BR"
    for pattern in _NOT_PHONES + (_NOT_PHONES_IN_BRAZIL if brazilian else ()):
        folded = pattern.sub(_GONE, folded)
    for pattern, respelled in _RESPELLED_IN_BRAZIL if brazilian else ():
        folded = pattern.sub(respelled, folded)
    return folded


def _mentions(text: str, region: str, labelled: bool) -> Iterator[_Mention]:
    for match in islice(PhoneNumberMatcher(text, region, leniency=Leniency.VALID), MAX_NUMBERS):
        if phone := _conventional(match.number, match.raw_string, region):
            yield _Mention(phone, match.start, match.end, _label(text, match, labelled))


def _conventional(number: PhoneNumber, typed: str, region: str) -> Phone | None:
    kind = number_type(number)
    valid = is_possible_number(number) and is_valid_number_for_region(number, region)
    if not valid or kind not in CONVENTIONAL:
        return None
    return Phone(format_number(number, PhoneNumberFormat.E164), typed, kind == PhoneNumberType.MOBILE)


def _label(text: str, match: PhoneNumberMatch, labelled: bool) -> str | None:
    """What the words around say that the number is: `calls`, `chats`, `other` (no phone), or nothing."""
    typed = match.raw_string
    before = text[max(0, match.start - NEAR) : match.start].rpartition("\n")[2]
    nearest: re.Match[str] | None = None
    for word in _LABEL.finditer(before):
        kind = word.lastgroup
        if kind == "vague" and not _UP_TO_NUMBER.match(before, word.end()):
            continue
        if nearest and nearest.lastgroup == "calls" and _OF.match(before[nearest.end() : word.start()]):
            continue  # "telefone do pedido" is a phone
        nearest = word
    after = text[match.end : match.end + NEAR].partition("\n")[0]
    label = nearest.lastgroup if nearest else None
    follows = None if nearest else _LABEL.search(after)
    if follows and _AFTERWARDS.match(after[: follows.start()]):
        label = follows.lastgroup
    if label in {"calls", "chats"}:
        return label
    if (digits := typed.strip("()[]")).isdigit():
        return "other" if label or (_is_cpf(digits) and not labelled) else None
    if nearest and typed[0] not in "(+[" and _UP_TO_NUMBER.match(before, nearest.end()):
        return "other"
    return None


def _is_cpf(digits: str) -> bool:
    """Eleven digits whose last two check the others, as on a Brazilian taxpayer's card."""
    if len(digits) != 11 or not digits.isdecimal():
        return False
    for length in (9, 10):
        total = sum(int(digit) * (length + 1 - place) for place, digit in enumerate(digits[:length]))
        if total * 10 % 11 % 10 != int(digits[length]):
            return False
    return True


def _linked(folded: str, region: str) -> dict[str, Phone]:
    """The numbers inside links that open WhatsApp, which always carry the country code."""
    phones = {}
    for link in _WHATSAPP_LINK.finditer(folded):
        try:
            number = parse("+" + link[1])
        except NumberParseException:  # no country has that code
            continue
        if phone := _conventional(number, link[1], region):
            phones[phone.e164] = phone
    return phones


def _marked(text: str, mentions: list[_Mention]) -> set[str]:
    """The numbers that the words beside them keep for WhatsApp; said once, it holds for the whole text."""
    marked = set()
    for mark in _WHATSAPP_ONLY.finditer(text):
        if mark["denied"]:
            continue
        left = max((m for m in mentions if m.end <= mark.start()), key=lambda m: m.end, default=None)
        right = min((m for m in mentions if m.start >= mark.end()), key=lambda m: m.start, default=None)
        if owner := _owner(text, mark, left, right):
            marked.add(owner.phone.e164)
    return marked


def _owner(text: str, mark: re.Match[str], left: _Mention | None, right: _Mention | None) -> _Mention | None:
    """Of the numbers on both sides of "só whats", the one it speaks of."""
    if left and mark.start() - left.end > MARK_REACH:
        left = None
    if right and right.start - mark.end() > MARK_REACH:
        right = None
    if not left or not right:
        return left or right
    if _INTRODUCES.match(text, mark.end()):
        return right
    apart_left = bool(_APART.search(text, left.end, mark.start()))
    apart_right = bool(_APART.search(text, mark.end(), right.start))
    return right if apart_left and not apart_right else left
