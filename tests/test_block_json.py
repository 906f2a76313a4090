"""The events of blocks: a page that applies them has the blocks."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from chatsvc.rendering.block_messages import Block
from chatsvc.transports.block_json import SHORTEST_KEPT, block_json, common_length

from .growing_markdown import Page

_html = st.lists(st.sampled_from(["<p>", "你好", "😀", "😁", "a", "</p>\n", "\u2028"]))


@given(st.lists(st.tuples(st.sampled_from([0, 7]), _html, st.booleans())))
def test_what_a_page_makes_of_the_events_are_the_blocks(
    sent: list[tuple[int, list[str], bool]],
) -> None:
    page, last = Page(), None
    for start, pieces, is_open in sent:
        block = Block(start, start + 1, "".join(pieces), "</p>" if is_open else None)
        data = block_json(block, last, "reply")
        assert b"\n" not in data and "\u2028".encode() not in data
        page.apply(json.loads(data))
        last = block
        assert page.blocks[-1] == block


def test_what_stays_is_not_sent_again() -> None:
    before = Block(3, 30, "<p>😀 long enough to keep", "</p>")
    after = Block(3, 35, "<p>😀 long enough to keep it", "</p>")
    assert json.loads(block_json(after, before, "reply")) == {
        "type": "block",
        "from": 3,
        "to": 35,
        "keep": 25,
        "html": " it",
        "close": "</p>",
    }
    other = Block(40, 41, "<p>😀 long enough to keep it", None)
    assert "keep" not in json.loads(block_json(other, after, "reply"))


def test_ids_are_those_of_the_reply() -> None:
    html = '<p><sup><a href="#fn-1" id="fnref-1" role="doc-noteref">1</a></sup></p>\n'
    event = json.loads(block_json(Block(0, 1, html), None, "R"))
    assert event["html"] == html.replace("-1", "-R-1")


@given(st.text("ab"), st.text("ab"))
def test_the_common_beginning(a: str, b: str) -> None:
    count = common_length(a, b)
    assert a[:count] == b[:count]
    assert a[count : count + 1] != b[count : count + 1] or count == min(len(a), len(b))
    assert SHORTEST_KEPT > 0
