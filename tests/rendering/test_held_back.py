"""What is held back at the end of a growing text: half a mark, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.rendering.held_back import MAX_HELD, inline_end, shown_lines

from ..growing_markdown import well_formed, wild
from ..linear import assert_linear


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("Hello **bo", "Hello **bo"),
        ("Hello *", "Hello"),
        ("Hello **", "Hello"),
        ("**a** ~~", "**a"),
        (r"no mark\*", "no mark"),
        (r"no mark\* ", "no mark"),
        (r"no mark\\*", "no mark"),
        (r"no mark\*,", r"no mark\*,"),
        ("see [text", "see"),
        ("see [text]", "see"),
        ("see [text](ht", "see"),
        ('see [text](http://x "a', "see"),
        ("see [text](http://x) ", "see [text](http://x)"),
        ("see [1] and", "see [1] and"),
        ("a ![alt](x", "a"),
        ("Hi!", "Hi"),
        ("Hi! you", "Hi! you"),
        ("a [b `c", "a"),
        ("$x^2", ""),
        ("is $x^2$", "is"),
        ("is $x^2$ and", "is $x^2$ and"),
        ("is $$x$", "is"),
        ("is $$x$$", "is $$x$$"),
        (r"is \(x", "is"),
        (r"is \(x\)", r"is \(x\)"),
        ("is \\", "is"),
        ("costs $5 and $10", "costs $5 and"),
        ("costs $5 and $10 now", "costs $5 and $10 now"),
        ("costs $", "costs"),
        ("R&D", "R"),
        ("R&D is", "R&D is"),
        ("a &am", "a"),
        ("a <", "a"),
        ("a <http://x", "a"),
        ("a < b", "a < b"),
        ("https://a.exa", ""),
        ("https://a.example and", "https://a.example and"),
        ("see www.a", "see"),
        ("| a | b", ""),
        ("text\n| a", "text"),
        ("a | b", "a"),
        ("P(A|B) is", "P(A|B) is"),
    ],
)
def test_half_a_mark_is_held_back(content: str, shown: str) -> None:
    end = inline_end(content, may_be_table=True)
    assert content[: end.shown] == shown
    assert end.code is None


def test_code_in_a_line_is_open_and_not_held_back() -> None:
    end = inline_end("a ``b ` c", may_be_table=True)
    assert end.shown == 9 and end.code == (2, 2)
    closing = inline_end("a ``b`", may_be_table=True)
    assert closing.shown == 5 and closing.code == (2, 2)
    assert inline_end("a `", may_be_table=True) == (1, None)
    assert inline_end("a | b `c", may_be_table=True) == (1, None)
    assert inline_end("a | b", may_be_table=False).shown == 5


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        *(
            (f"a\n\n{line}", "a\n\n")
            for line in ("-", "- ", "1", "12.", "1. ", "#", "> ")
        ),
        *(
            (f"a\n{line}", "a\n")
            for line in ("=", "--", "|", "`", "- **", "- [", "- [x] ")
        ),
        ("a\n12 b", "a\n12 b"),
        ("a\n| 1 |", "a\n| 1 |"),
        ("- [x] d", "- [x] d"),
        ("# A #", "# A"),
        ("# A #b", "# A #b"),
        ("a\n\n[b]: http", "a\n\n"),
        ("a\n\n[^b]: note", "a\n\n[^b]: note"),
        ("a\n$$\nx", "a\n"),
        ("a\n- \\[\nx", "a\n"),
        ("a\n$$\nx\n$$\nb", "a\n$$\nx\n$$\nb"),
        ("$$\nx\n\nb", "$$\nx\n\nb"),
    ],
)
def test_a_line_that_may_become_anything_is_held_back(text: str, shown: str) -> None:
    assert text[: shown_lines(text)] == shown


@pytest.mark.parametrize("mark", ["[", "$x", "&", "<a", "https://", "**"])
def test_what_is_held_back_has_a_limit(mark: str) -> None:
    content = "a " + mark + "b" * (MAX_HELD + 1)
    assert inline_end(content, may_be_table=False).shown == len(content)


@given(st.one_of(wild, well_formed))
def test_what_is_shown_is_part_of_the_text(text: str) -> None:
    assert 0 <= shown_lines(text) <= len(text)
    end = inline_end(text, may_be_table=True)
    assert 0 <= end.shown <= len(text)
    if end.code is not None:
        assert text[end.code.start] == "`" and end.code.start < end.shown


@pytest.mark.parametrize(
    "mark", ["[", "[a](", "$a ", "$1", "`a ``", "<a", "&a", "\\(", "![", "www.", "|"]
)
def test_the_work_is_linear(mark: str) -> None:
    def prepare(length: int) -> Callable[[], object]:
        content = (mark * length)[:length]
        return lambda: (inline_end(content, may_be_table=True), shown_lines(content))

    assert_linear(prepare)
