"""The questions that the page offers: the file that an operator writes, and which of it a reader gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.settings import BadSetting
from chatsvc.web.starters import (
    MOST_FILE_BYTES,
    SHOWN,
    offered,
    parse_starters,
    read_starters,
)

LANGUAGES = ["en", "zh"]
FILE = "\n One? \n\nTwo?\r\nOne?\n[zh]\n一？\n[en]\n"


def test_a_line_is_a_question_of_the_language_before_it() -> None:
    starters = parse_starters(FILE, LANGUAGES)
    assert starters == {"": ["One?", "Two?"], "zh": ["一？"]}
    assert offered(starters, "zh") == ["一？"]
    # A language without questions of its own has those of all.
    assert offered(starters, "en") == ["One?", "Two?"]
    assert offered({}, "en") == []


def test_three_are_offered_in_their_order_and_each_has_its_turn() -> None:
    starters = {"": [str(number) for number in range(9)]}
    seen: set[str] = set()
    for _ in range(300):
        shown = offered(starters, "en")
        assert len(set(shown)) == SHOWN == 3 and shown == sorted(shown)
        seen |= set(shown)
    assert seen == set(starters[""])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\n" + "x" * 201, "line 2 has more than 200 characters"),
        ("a\u202eb", "line 1 has characters that can't be seen"),
        ("[fr]\nQuoi ?", "line 1: the page has no language fr, but en, zh"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / "starters.txt"
    path.write_text(text)
    with pytest.raises(BadSetting) as raised:
        read_starters(str(path), LANGUAGES)
    assert str(raised.value) == f"--starters {path}: {reason}"


def test_a_file_that_can_t_be_used_is_named(tmp_path: Path) -> None:
    for content, reason in [
        (b"\xff", "it is not UTF-8"),
        (b"a\n" * MOST_FILE_BYTES, f"it has more than {MOST_FILE_BYTES} bytes"),
    ]:
        path = tmp_path / "starters.txt"
        path.write_bytes(content)
        with pytest.raises(BadSetting, match=reason):
            read_starters(str(path), LANGUAGES)
    with pytest.raises(BadSetting, match="can't read it"):
        read_starters(str(tmp_path), LANGUAGES)
    assert read_starters("", LANGUAGES) == {}


def test_a_mark_of_the_byte_order_is_no_character(tmp_path: Path) -> None:
    path = tmp_path / "starters.txt"
    path.write_bytes(b"\xef\xbb\xbfOne?")
    assert read_starters(str(path), LANGUAGES) == {"": ["One?"]}


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        starters = parse_starters(text, LANGUAGES)
    except ValueError as error:
        assert "line " in str(error)
    else:
        for question in offered(starters, "zh"):
            assert question and question.isprintable() and question in text
