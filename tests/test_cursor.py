"""Reply ids and cursors (PROTOCOL.md section 1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.cursor import (
    Offset,
    is_reply_id,
    new_reply_id,
    parse_cursor,
    parse_place,
)
from chatsvc.problems import BadCursor

ID = "AAAAAAAAAA-bbbbbbbbb_0"


def test_reply_ids_are_22_url_safe_characters_and_never_the_same() -> None:
    ids = {new_reply_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(is_reply_id(reply_id) and len(reply_id) == 22 for reply_id in ids)


@pytest.mark.parametrize(
    "text", ["", ID[:-1], ID + "x", ID + "\n", ID[:-1] + "é", ID[:-1] + "/", " " + ID]
)
def test_anything_else_is_no_reply_id(text: str) -> None:
    assert not is_reply_id(text)


@given(st.integers(0, 10**9 - 1))
def test_a_cursor_names_a_reply_and_a_position(position: int) -> None:
    assert parse_cursor(f"{ID}:{position}") == (ID, position)


@given(st.integers(0, 10**9 - 1))
def test_a_cursor_may_name_an_offset(units: int) -> None:
    assert parse_cursor(f"{ID}:@{units}") == (ID, Offset(units))
    assert parse_place(f"@{units}") == Offset(units)
    assert parse_place(f"{units}") == units


@pytest.mark.parametrize("text", ["@", "@-1", "@01", "1@", "@@1", "@ 1", "@1000000000"])
def test_a_malformed_offset_is_refused(text: str) -> None:
    with pytest.raises(BadCursor, match="<reply>:@<m>"):
        parse_cursor(f"{ID}:{text}")


def test_a_cursor_may_name_the_end() -> None:
    assert parse_cursor(f"{ID}:end") == (ID, None)


@pytest.mark.parametrize(
    "text",
    ["", ":", ID, f"{ID}:", f"{ID}:-1", f"{ID}:+1", f"{ID}:01", f"{ID}:1.0", f"{ID}:1 "]
    + [
        f"{ID}:1\n",
        f" {ID}:1",
        f"{ID}:END",
        f"{ID}:end1",
        f"{ID}:٣",
        f"{ID}:²",
        f"x{ID}:1",
    ]
    + [
        f"{ID}:1:1",
        f"{ID} :1",
        f"{ID}:1000000000",
        f"{ID[:-1]}:1",
        f"{ID}:0x1",
        f"{ID}:1_0",
    ],
)
def test_a_malformed_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursor, match="<reply>:<n>"):
        parse_cursor(text)


@given(st.text(st.characters(codec=None)))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        parse_cursor(text)
