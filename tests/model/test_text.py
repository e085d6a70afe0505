"""A vendor's HTML becomes safe text, and our text a vendor's HTML."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.text import TAGS, html_to_text, sanitised, text_to_html

ATTACKS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//x.example/a.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<img src='javascript:alert(1)'>",
    "<a href='javascript:alert(1)'>oi</a>",
    "<a href='JaVaScRiPt&colon;alert(1)'>oi</a>",
    "<a href='java\tscript:alert(1)'>oi</a>",
    "<a href='&#106;avascript:alert(1)'>oi</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>oi</a>",
    "<a href='vbscript:msgbox(1)'>oi</a>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<iframe src=https://x.example></iframe>",
    "<object data=x></object><embed src=x>",
    "<form action=https://x.example><input name=cpf><button>ok</button></form>",
    "<style>body{background:url('javascript:alert(1)')}</style>",
    "<div style='background:url(javascript:alert(1))'>oi</div>",
    "<base href='https://x.example'>",
    "<meta http-equiv=refresh content='0;url=https://x.example'>",
    "<link rel=stylesheet href=https://x.example/a.css>",
    "<body onload=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<p onclick='alert(1)' onmouseover=alert(2)>oi</p>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<template><script>alert(1)</script></template>",
    "<a href='https://x.example' onclick=alert(1) target=_blank>oi</a>",
    '<IMG """><SCRIPT>alert(1)</SCRIPT>">',
    "<<script>alert(1)//<</script>",
    "<img src=`javascript:alert(1)`>",
    "\x00<scr\x00ipt>alert(1)</script>",
]
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


class Found(HTMLParser):
    """What a browser would find in it that runs, loads or posts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.harm: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag not in TAGS:
            self.harm.append(tag)
        for name, value in attrs:
            unsafe_address = name in {"href", "src"} and (
                scheme := SCHEME.match(re.sub(r"[\x00-\x20]", "", value or ""))
            )
            if name.startswith("on") or name in {"style", "srcdoc"}:
                self.harm.append(name)
            elif unsafe_address and scheme[0].lower() not in {"https:", "http:", "mailto:", "tel:"}:
                self.harm.append(value)

    def handle_comment(self, data):
        self.harm.append(data)

    def handle_decl(self, decl):
        self.harm.append(decl)


@pytest.mark.parametrize("html", ATTACKS)
def test_nothing_that_runs_is_left(html):
    clean = sanitised(html)
    assert Found(clean).harm == []
    assert sanitised(clean) == clean


@given(
    st.lists(
        st.sampled_from([*ATTACKS, "<p>", "</p>", "<b>oi</b>", "'", '"', "<", ">", "&lt;"]), max_size=6
    ).map("".join)
)
def test_nothing_that_runs_is_left_however_it_is_put_together(html):
    assert Found(sanitised(html)).harm == []


def test_what_is_harmless_is_left_as_it_is():
    html = "<p>Olá, <b>Dona</b> &amp; cia<br>até <i>já</i></p><ul><li>um</li></ul>"
    assert sanitised(html) == html
    link = sanitised('<a href="https://x.example/a?b=1">oi</a>')
    assert 'href="https://x.example/a?b=1"' in link
    assert "noopener" in link


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>um</p><p>dois</p>", "um\ndois"),
        ("um<br>dois<br/>três<BR />quatro", "um\ndois\ntrês\nquatro"),
        ('um<br clear="all">dois<br class="x"/>três', "um\ndois\ntrês"),
        ("<div>um</div>\r\n<div>dois</div>", "um\ndois"),
        ("<ul><li>um</li><li>dois</li></ul>", "um\ndois"),
        ("<h1>Título</h1><blockquote>citado</blockquote><pre>código</pre>fim", "Título\ncitado\ncódigo\nfim"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "ab\nc"),
        ("a&nbsp;&amp;&nbsp;b &lt;c&gt; &eacute;", "a & b <c> é"),
        ("&amp;lt;b&amp;gt;", "&lt;b&gt;"),
        ("<p>um</p><br><br><br><p>dois</p>", "um\n\ndois"),
        ("  um  ", "um"),
        ("<script>alert(1)</script>oi<style>p{}</style>", "oi"),
        ("1 < 2 e 3 > 2", "1 < 2 e 3 > 2"),
        ("<p>sem fim", "sem fim"),
        ("", ""),
    ],
)
def test_html_is_read_as_a_person_reads_it(html, text):
    assert html_to_text(html) == text


@given(st.sampled_from(ATTACKS))
def test_no_attack_is_read_as_a_script(html):
    assert "<script" not in html_to_text(html).lower() or "&lt;" in html


def test_our_text_is_escaped_and_keeps_its_lines():
    assert text_to_html('a < b & "c"\r\nd\ne') == 'a &lt; b &amp; "c"<br>\nd<br>\ne'


WORDS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp", "Zs")), min_size=1)
LINES = st.lists(st.lists(WORDS, max_size=4).map(" ".join), max_size=6)


def tidy(lines: list[str]) -> str:
    """Lines without more than one empty one in a row, and none at the ends."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


@given(LINES)
def test_what_we_write_is_read_back_as_we_wrote_it(lines):
    assert html_to_text(text_to_html("\n".join(lines))) == tidy(lines)


@given(st.text())
def test_no_text_of_ours_becomes_anything_but_text_and_line_ends(text):
    assert set(re.findall(r"<[^>]*>", text_to_html(text))) <= {"<br>"}


@given(st.text())
def test_any_html_is_read_without_an_error(html):
    assert isinstance(html_to_text(html), str)
    assert isinstance(sanitised(html), str)
