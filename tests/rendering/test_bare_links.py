"""Addresses in the text become links, and end where people mean it."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.rendering.markdown import render

from ..markdown_harm import read


def links(text: str) -> list[tuple[str, str]]:
    """Return the address and the text of each link that a text is rendered with."""
    found = re.findall(r'<a href="([^"]*)"[^>]*>(.*?)</a>', render(text))
    return [(unescape(address), unescape(name)) for address, name in found]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("see https://a.com/b now", "https://a.com/b"),
        ("HTTPS://A.com", "HTTPS://A.com"),
        (
            "http://localhost:3000/x?y=1&copy=2#z",
            "http://localhost:3000/x?y=1&copy=2#z",
        ),
        ("http://127.0.0.1:80", "http://127.0.0.1:80"),
        ("(https://a.com/x_(y))", "https://a.com/x_(y)"),
        ("https://a.com/x).", "https://a.com/x"),
        ("https://a.com.", "https://a.com"),
        ("https://a.com/?", "https://a.com/"),
        ("https://a.com/b, c", "https://a.com/b"),
        ("https://a.com/b;&gt; c", "https://a.com/b"),
        ("'https://a.com/b'", "https://a.com/b"),
        ("https://a.com/~b/c", "https://a.com/~b/c"),
        ("**https://a.com/b**", "https://a.com/b"),
        ("~~https://a.com/b~~", "https://a.com/b"),
        ("_https://a.com/b_", "https://a.com/b"),
        ("https://a.com/x_y_z", "https://a.com/x_y_z"),
        ("https://a.com/$x$ $", "https://a.com/$x$"),
        ("https://a.com/b<br>", "https://a.com/b"),
        ('"https://a.com/b"', "https://a.com/b"),
        ("|https://a.com/b|", "https://a.com/b"),
        ("访问https://a.com查看", "https://a.com"),
        ("访问https://a.com/b。后面", "https://a.com/b"),
        ("（https://a.com/b）", "https://a.com/b"),
        ("「https://a.com/b」", "https://a.com/b"),
        ("https://a.com/b，https", "https://a.com/b"),
        ("https://a.com/b…", "https://a.com/b"),
        ("“https://a.com/b”", "https://a.com/b"),
    ],
)
def test_where_an_address_ends(text: str, address: str) -> None:
    assert links(text) == [(address, address)]


@pytest.mark.parametrize(
    ("text", "address", "name"),
    [
        ("www.a.com/b.", "http://www.a.com/b", "www.a.com/b"),
        ("见www.a.com。", "http://www.a.com", "www.a.com"),
        (
            "https://zh.wikipedia.org/wiki/北京。",
            "https://zh.wikipedia.org/wiki/%E5%8C%97%E4%BA%AC",
            "https://zh.wikipedia.org/wiki/北京",
        ),
        (
            "https://例子.测试/",
            "https://xn--fsqu00a.xn--0zwm56d/",
            "https://例子.测试/",
        ),
        ("https://a.com/e\u0301", "https://a.com/e%CC%81", "https://a.com/e\u0301"),
    ],
)
def test_addresses_that_are_written_otherwise(
    text: str, address: str, name: str
) -> None:
    assert links(text) == [(address, name)]


@pytest.mark.parametrize(
    "text",
    [
        "`https://a.com`",
        "```\nhttps://a.com\n```",
        "    https://a.com",
        "javascript://a.com",
        "data:text/html,x",
        "ftp://a.com",
        "xhttps://a.com",
        "view-source+https://a.com",
        "https://",
        "https:// a",
        "https:///a",
        "https://user@host/",
        "https://user:1@host/",
        "https://请看",
        "www.",
        "www.a",
        "a.www.b.c",
        "wwwxa.com",
        "$https://a.com$",
    ],
)
def test_what_is_no_address(text: str) -> None:
    assert links(text) == []


def test_there_is_no_link_within_a_link() -> None:
    kept = links("[https://a.com](https://b.com) [x https://a.com](https://c.com)")
    assert kept == [
        ("https://b.com", "https://a.com"),
        ("https://c.com", "x https://a.com"),
    ]
    assert links("<https://a.com/>") == [("https://a.com/", "https://a.com/")]
    image = render("![https://a.com](https://b.com)")
    assert image.count("<a ") == 1


PIECES = st.sampled_from(
    ["http://", "https://", "www.", "a.com", "/", "?", "(", ")", "。", "字", "*", "~"]
    + ["&amp;", ";", ":", "@", "[", "](", "`", "$", "<", " ", "\u0301", "\u202e", "x"]
)


@given(st.lists(PIECES | st.text(max_size=2), max_size=25).map("".join))
def test_addresses_do_no_harm_and_nothing_is_lost(text: str) -> None:
    text = text.replace("\r", "\n")
    read(text, render(text))
    for address, name in links(text):
        assert address.lower().startswith(("http://", "https://"))
        assert not name or name[-1] not in "?!.,:。"
