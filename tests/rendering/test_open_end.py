"""The open end of a growing text: where its HTML is cut in two, and up to which place it goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.rendering.open_end import OpenEnd

from ..growing_markdown import END_TAGS, Growing, well_formed, wild


@pytest.mark.parametrize(
    ("text", "shown", "html", "close"),
    [
        ("a *b **c", 8, "a <em>b <strong>c", "</strong></em></p>"),
        ("a ~~b *c*", 8, "a <s>b <em>c", "</em></s></p>"),
        ("a `b", 4, "a <code>b", "</code></p>"),
        ("**a `b", 6, "<strong>a <code>b", "</code></strong></p>"),
        ("a*b", 3, "a*b", "</p>"),
        ("a**b", 4, "a<strong>b", "</strong></p>"),
        ("a * b", 5, "a * b", "</p>"),
        ("**注意：", 5, "<strong>注意：", "</strong></p>"),
        ("a [b](/c", 1, "a", "</p>"),
        ("- a\n- **b", 9, "<strong>b", "</strong></li></ul>"),
        ("- a\n\n  b", 8, "b", "</p></li></ul>"),
        ("> a\n> b", 7, "a<br>\nb", "</p></blockquote>"),
        ("## a #", 4, "a", "</h2>"),
        ("|a|b|\n|-|-|\n|c", 14, "<td>c", "</td></tr></tbody></table>"),
        ("|a|b|\n|-|-|\n|c|", 14, "<td>c", "</td></tr></tbody></table>"),
        ("|a|b|\n|-|-|\n|c|*d", 17, "<td><em>d", "</em></td></tr></tbody></table>"),
        ("|a|b|\n|-|-|\n|c|d|e", 16, "<td>d", "</td></tr></tbody></table>"),
        ("```\na\n", 5, "a", "</code></pre>"),
        ("```py\n", 5, '<code class="language-py">', "</code></pre>"),
        ("```\na\n``", 5, "a", "</code></pre>"),
        ("- ```\n  a", 9, "a", "</code></pre></li></ul>"),
        ("    a", 5, "a", "</code></pre>"),
    ],
)
def test_the_open_end(text: str, shown: int, html: str, close: str) -> None:
    growing = Growing(text)
    growing.render(len(text))
    block = growing.blocks.blocks[-1]
    assert (block.end, block.close) == (shown, close)
    assert block.html.endswith(html)


@pytest.mark.parametrize(
    "text", ["# a\n", "a\n\n", "a\n===\n", "---\n", "```\na\n```\n", "$$\na\n$$\n"]
)
def test_a_block_that_can_not_go_on_is_finished(text: str) -> None:
    growing = Growing(text)
    growing.render(len(text))
    assert [block.close for block in growing.blocks.blocks] == [None]


def test_a_block_of_which_nothing_is_shown_is_not_there() -> None:
    growing = Growing("a\n\n[link](x")
    growing.render(len(growing.text))
    assert [block.start for block in growing.blocks.blocks] == [0]


def test_the_mark_is_a_character_that_the_text_does_not_have() -> None:
    end = OpenEnd("\ue000 a \ue001")
    assert end.mark == "\ue002" and end.shown == 5
    everything = OpenEnd("".join(map(chr, range(0xE000, 0xF900))))
    assert everything.mark == ""


def test_a_text_of_all_possible_marks_is_rendered_all_the_same() -> None:
    growing = Growing("".join(map(chr, range(0xE000, 0xF900))) + " **a")
    growing.render(len(growing.text))
    (block,) = growing.blocks.blocks
    assert "**a" in block.html


@given(st.one_of(wild, well_formed), st.data())
def test_what_closes_a_block_is_end_tags(text: str, data: st.DataObject) -> None:
    growing = Growing(text)
    place = data.draw(st.integers(0, len(text)))
    growing.render(place)
    blocks = growing.blocks.blocks
    assert all(block.close is None for block in blocks[:-1])
    for last in blocks[-1:]:
        assert last.end <= place
        assert last.close is None or END_TAGS.fullmatch(last.close)
