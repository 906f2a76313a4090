"""Footnotes: their numbers, where they are listed, and the links there and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.rendering.markdown import render

from ..markdown_harm import read
from .test_limits import Clock


def rendered(text: str) -> str:
    """Return a text as HTML without what all links have. Every link within it leads somewhere."""
    html = render(text)
    reader = read(text, html)
    assert reader.targets <= reader.ids
    return html.replace(' rel="noopener noreferrer nofollow"', "")


def test_there_and_back() -> None:
    html = rendered("A[^b] and 字[^1]。\n\n[^1]: one\n[^b]: two `x`\n")
    assert (
        'A<sup><a href="#fn-1" id="fnref-1" role="doc-noteref">1</a></sup> and '
        '字<sup><a href="#fn-2" id="fnref-2" role="doc-noteref">2</a></sup>。'
    ) in html
    section = html[html.index("<section") :]
    assert section.startswith('<section class="footnotes" dir="auto" data-end="')
    back = '<a href="#fnref-{}" role="doc-backlink">↩︎</a>'
    assert (
        f'<li id="fn-1" dir="auto">\n<p>two <code>x</code> {back.format(1)}</p>\n</li>'
        in section
    )
    assert f'<li id="fn-2" dir="auto">\n<p>one {back.format(2)}</p>\n</li>' in section
    assert section.index("fn-1") < section.index("fn-2")


def test_one_that_is_referred_to_twice_leads_back_to_both() -> None:
    html = rendered("a[^X] b[^x]\n\n[^x]: y")
    assert html.count('href="#fn-1"') == 2
    assert 'href="#fnref-1" role="doc-backlink">↩︎</a>' in html
    assert 'href="#fnref-1-2" role="doc-backlink">↩︎<sup>2</sup></a>' in html


@pytest.mark.parametrize(
    "text",
    [
        "a[^1]",
        "a[^1]\n\n[^2]: b",
        "a[^ 1]\n\n[^ 1]: b",
        "a[^]\n\n[^]: b",
        "a`[^1]`\n\n[^1]: b",
        "a\\[^1]\n\n[^1]: b",
        "a[^1]\n\n> [^1]: b",
        "a[^1]\n\n- [^1]: b",
        "a[^1]\n\n    [^1]: b",
        "a[^1]\n\n```\n[^1]: b\n```",
        f"a[^{'1' * 101}]\n\n[^{'1' * 101}]: b",
    ],
)
def test_what_is_not_defined_or_no_reference_stays_text(text: str) -> None:
    html = rendered(text)
    assert "noteref" not in html
    assert "[^" in read(text, html).text


def test_there_is_no_link_within_a_link_and_none_in_the_name_of_an_image() -> None:
    html = rendered("[a[^1]](http://b) ![c[^1]](http://d)\n\n[^1]: e")
    assert html.count("noteref") == 1
    assert ">c[^1]</a>" in html


def test_a_definition_has_blocks_and_ends_a_list_and_a_quotation() -> None:
    html = rendered(
        "- a[^1]\n[^1]: x\ny\n\n    - z\n\n    ```\n    code\n    ```\n\nb\n\n> c\n[^2]: d"
    )
    first, second = re.findall("<section.*?</section>", html, re.DOTALL)
    assert (
        '<p>x<br>\ny</p>\n<ul>\n<li dir="auto">z</li>\n</ul>\n<pre><code>code\n'
        in first
    )
    assert first.rstrip().endswith("↩︎</a></li>\n</ol>\n</section>")
    assert ">b</p>\n<blockquote" in html
    assert '<li id="fn-2" value="2" dir="auto">\n<p>d</p>' in second


def test_what_nothing_refers_to_and_what_is_defined_twice_is_listed_last() -> None:
    html = rendered(
        "a[^2]\n\n[^1]: one[^4]\n[^2]: two[^3]\n[^2]: again\n[^3]: three\n[^4]: four"
    )
    assert re.findall(r'<li id="fn-\d+" dir="auto">\n<p>(\w+)', html) == [
        *("two", "three", "one", "four", "again")
    ]


def test_footnotes_that_refer_to_each_other() -> None:
    html = rendered("[^a]: x[^b]\n[^b]: y[^a][^b]\n")
    assert html.count("noteref") == html.count("backlink") == 3


def test_blocks_end_where_the_next_begins() -> None:
    text = "a[^1]\n\n[^1]: b\n\n[^2]: c\n\nd\n\n[^3]: e\n"
    ends = read(text, render(text)).ends
    assert [text[:end].rstrip().rpartition("\n")[2] for end in ends] == [
        *("a[^1]", "[^2]: c", "d", "[^3]: e")
    ]


@pytest.mark.parametrize("step", [0.0005, 0.002, 0.01, 0.05])
def test_over_a_limit_no_definition_is_lost(step: float) -> None:
    lines = [f"w{i}[^{i}]\n\n[^{i}]: d{i}\n\n" for i in range(300)]
    text = "".join(lines)
    html = render(text, clock=Clock(step))
    words = set(re.findall(r"\b[wd]\d+\b", read(text, html).text.replace("[^", " [^")))
    assert len({word for word in words if word[0] == "d"}) == 300


def test_what_a_limit_has_cut_off_is_no_longer_referred_to() -> None:
    text = "a[^1]\n\n" + "b *c* d\n\n" * 2000 + "[^1]: e\n"
    shown = []
    for step in (0.0001, 0.0003, 0.001, 0.003, 0.01):
        html = render(text, clock=Clock(step))
        reader = read(text, html)
        assert reader.targets <= reader.ids
        shown.append(reader.text.partition("\n")[0])
    assert {"a1", "a[^1]"} == set(shown)


PIECES = st.sampled_from(
    [
        "[^a]",
        "[^b]",
        "[^a]: ",
        "[^b]: ",
        "\n",
        "\n\n",
        "    ",
        "x",
        "> ",
        "- ",
        "[",
        "](",
    ]
    + ["```\n", "*", "`", ":", "^", "$$", "[^a]:\n"]
)


@given(st.lists(PIECES, max_size=40).map("".join))
def test_every_link_leads_to_one_place_and_all_words_are_there(text: str) -> None:
    reader = read(text, html := render(text))
    assert reader.targets <= reader.ids
    assert reader.text.count("x") >= text.count("x"), html
