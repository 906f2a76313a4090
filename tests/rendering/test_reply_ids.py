"""The ids in a reply's HTML have the reply's own in them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from chatsvc.rendering.markdown import render
from chatsvc.rendering.reply_ids import ids_in, with_reply_ids, without_dead_links

REPLY = "abcDEF_-0123456789_-xy"


def test_ids_and_the_links_to_them() -> None:
    html = with_reply_ids(render("a[^1] b[^1]\n\n[^1]: c"), REPLY)
    ids = re.findall(r' id="([^"]*)"', html)
    assert ids == [f"fnref-{REPLY}-1", f"fnref-{REPLY}-1-2", f"fn-{REPLY}-1"]
    assert re.findall(r' href="#([^"]*)"', html) == [
        *(f"fn-{REPLY}-1", f"fn-{REPLY}-1", f"fnref-{REPLY}-1", f"fnref-{REPLY}-1-2")
    ]


def test_what_only_looks_like_an_id_stays() -> None:
    text = (
        '<li id="fn-1"> <a href="#fn-1"> `<li id="fn-1">` '
        '[x](http://h \'<li id="fn-1">\')\n\na[^1]\n\n[^1]: id="fn-1"'
    )
    html = with_reply_ids(render(text), REPLY)
    assert html.count(REPLY) == 4
    assert html.replace(f"-{REPLY}", "") == render(text)


@given(st.text())
def test_no_text_is_changed(text: str) -> None:
    html = render(f"a[^1] {text.replace(chr(13), '')}\n\n[^1]: b")
    assert with_reply_ids(html, REPLY).replace(f"-{REPLY}", "") == html


def test_a_link_that_leads_nowhere_is_none() -> None:
    html = render('a[^1] b[^2] <a href="#fn-2">\n\n[^1]: c\n[^2]: d')
    assert without_dead_links(html, ids_in(html)) == html
    cut = html[: html.index('<li id="fn-2"')]
    assert without_dead_links(cut, ids_in(cut)) == cut.replace('<a href="#fn-2"', "<a")
