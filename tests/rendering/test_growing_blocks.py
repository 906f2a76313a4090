"""The blocks of a growing text are those of the whole one, and right while it grows."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.rendering.block_messages import Asked, Block, Past, plain_blocks
from chatsvc.rendering.blocks import render_blocks
from chatsvc.rendering.limits import MAX_CELLS
from chatsvc.rendering.markdown import render
from chatsvc.rendering.safe_characters import safe_length
from chatsvc.transports.block_json import block_json

from ..growing_markdown import Growing, Page, visible, well_formed, wild, without_ends

RAW = re.compile(r"```|~~~|\*\*|\|")


def send(page: Page, growing: Growing, changed: int, last: list[Block]) -> None:
    """Send the blocks from an index on as a node does."""
    for block in growing.blocks.blocks[changed:]:
        before = last[0] if last else None
        page.apply(json.loads(block_json(block, before, "reply")))
        last[:] = [block]


def ids(html: str) -> str:
    return html.replace("-reply-", "-")


@given(st.one_of(wild, well_formed), st.data())
def test_at_the_end_a_page_has_what_the_whole_text_is_as_html(
    text: str, data: st.DataObject
) -> None:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    growing, page, last = Growing(text), Page(), list[Block]()
    for place in places:
        send(page, growing, growing.render(place), last)
    send(page, growing, growing.render(len(text), whole=True), last)
    assert ids(page.html) == without_ends(render(text))
    assert growing.blocks.settled
    assert all(block.close is None for block in page.blocks)


@given(well_formed, st.data())
def test_what_a_page_draws_is_what_the_renderer_gives(
    text: str, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(text)))
    early = Growing(text)
    early.render(place)
    if not early.blocks.blocks or early.blocks.blocks[-1].close is None:
        return
    last = early.blocks.blocks[-1]
    in_code = (last.close or "").startswith("</code>")
    count = safe_length(text, last.end, in_code)
    page, later = Page(), Growing(text)
    send(page, early, 0, [])
    place = max(place, last.end + count)
    later.render(place)
    fresh = Page()
    send(fresh, later, 0, [])
    assert visible(page.drawn(text[:place])) == visible(fresh.drawn(text[:place]))


@given(well_formed)
def test_no_mark_is_seen_while_a_text_grows(text: str) -> None:
    if RAW.search(visible(render(text), code=False)):
        return  # such as `**` in which emphasis may not begin
    growing, page, last = Growing(text), Page(), list[Block]()
    for place in range(len(text) + 1):
        send(page, growing, growing.render(place), last)
        seen = visible(page.drawn(text[:place]), code=False)
        assert not RAW.search(seen), text[:place]


@given(st.one_of(wild, well_formed), st.data())
def test_it_makes_no_difference_when_a_text_is_rendered(
    text: str, data: st.DataObject
) -> None:
    if "[x]" in text or "[^" in text:
        return  # what a definition changes depends on when it is seen
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    growing, at_once = Growing(text), Growing(text)
    for place in places:
        growing.render(place)
    if places:
        at_once.render(places[-1])
    shown = "".join(block.shown for block in growing.blocks.blocks)
    assert visible(shown) == visible(
        "".join(block.shown for block in at_once.blocks.blocks)
    )


@pytest.mark.parametrize("step", [1, 21])
def test_a_late_definition_changes_earlier_blocks_at_the_end(step: int) -> None:
    text = "see [a], [^1]\n\nb\n\nc\n\n[a]: https://x.example\n[^1]: note"
    growing, page, last = Growing(text), Page(), list[Block]()
    for place in range(0, 22 if step > 1 else len(text), step):
        send(page, growing, growing.render(place), last)
    assert page.html.startswith('<p dir="auto">see [a], [^1]</p>')
    assert growing.render(len(text), whole=True) == 0
    send(page, growing, 0, last)
    assert page.html.startswith('<p dir="auto">see <a href="https://x.example"')
    assert 'role="doc-noteref"' in page.html


def test_a_definition_holds_for_all_that_is_rendered_behind_it() -> None:
    growing = Growing("[a]: https://x.example\n\nb\n\nsee [a] c")
    for place in range(len(growing.text) + 1):
        growing.render(place)
    assert '<a href="https://x.example"' in growing.blocks.blocks[-1].html


def test_a_block_that_turns_out_to_be_none_is_taken_back() -> None:
    growing, page, last = (
        Growing("b\n\n[a]: https://x.example\n\nc"),
        Page(),
        list[Block](),
    )
    before = Block(0, 1, '<p dir="auto">b</p>\n')
    growing.blocks.blocks = [before, Block(3, 5, "<p>x", "</p>")]
    send(page, growing, 0, last)
    send(page, growing, growing.render(len(growing.text) - 3), last)
    assert [block.html for block in page.blocks] == ['<p dir="auto">b</p>\n', ""]


def test_limits_are_those_of_the_whole_text() -> None:
    code = "```python\n" + "x = 1\n" * 1300 + "```\n\n"
    table = "|a|b|\n|-|-|\n" + "|1|2|\n" * 1500 + "\n"
    text = code * 6 + table * 4 + "end"
    growing = Growing(text, clock=lambda: 0.0)
    growing.render_all(range(0, len(text), 9000))
    shown = "".join(block.shown for block in growing.blocks.blocks)
    assert shown == without_ends(render(text, clock=lambda: 0.0))
    assert shown.count("<td") + shown.count("<th>") <= MAX_CELLS


def test_only_what_may_change_is_rendered_again() -> None:
    text = "word word\n\n" * 1000
    growing = Growing(text)
    growing.render(len(text) - 100)
    asked = growing.blocks.ask(lambda a, b: text[a:b], len(text), whole=False)
    assert len(asked.text) < 130


@pytest.mark.parametrize("whole", [False, True])
def test_what_cannot_be_rendered_is_plain_text(whole: bool) -> None:
    found = plain_blocks(Asked("a <b>\n", whole, Past()))
    (block,) = found.blocks
    assert (
        block.shown.strip()
        == '<pre dir="auto"><code>a &lt;b&gt;'
        + ("\n" if whole else "")
        + "</code></pre>"
    )
    assert (block.close is None) == whole
    assert not plain_blocks(Asked(" \n", whole, Past())).blocks


def test_a_text_over_a_limit_goes_on_as_plain_text() -> None:
    now = iter(range(10**9))
    asked = Asked("*a*\n\n" * 200, False, Past())
    found = render_blocks(asked, clock=lambda: next(now) / 10)
    assert found.blocks[-1].html.startswith("<pre")
    assert found.blocks[-1].close == "</code></pre>"
