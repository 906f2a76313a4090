"""Characters of text that arrives in pieces, against the invariants of `chatsvc.graphemes`."""

import itertools

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from chatsvc.graphemes import LONGEST_HELD, Splitter, boundaries

FAMILY = "👨‍👩‍👧"
FLAGS = "🇩🇪🇫🇷"
THUMB = "👍🏽"

# All that UAX #29 joins, all that can be cut in two, and all of Unicode with it.
texts = st.lists(
    st.sampled_from(
        ["\r", "\n", "\r\n", " ", "a", "e\u0301", "好", FAMILY, FLAGS, THUMB, "\u200d"]
        + ["\U0001f1e9", "\U0001f3fd", "\u0600", "각", "\u1100", "\u1161", "नि", "क्ष"]
        + ["\ud83c", "\udffd", "\ud83d", "\udc4d", "\udde9", "\0", "[DONE]"]
    )
    | st.text(st.characters(codec=None), max_size=4),
    max_size=12,
).map("".join)
cuts = st.lists(st.integers(0, 60), max_size=10)


def pieces(text: str, cuts: list[int]) -> list[str]:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


def split(pieces: list[str]) -> list[str]:
    """What comes out, run by run."""
    splitter = Splitter()
    return [*map(splitter.feed, pieces), splitter.close()]


def characters(text: str) -> list[str]:
    """The characters of clean text, as a log cuts it."""
    ends = boundaries(text)
    if ends is None:
        return list(text)
    return [text[a:b] for a, b in itertools.pairwise([0, *ends])]


def clean(text: str) -> str:
    """The rules, one after the other, on the whole text."""
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


@given(texts, cuts)
@example("👍\ud83c\udffd", [1, 2])  # half a skin tone still belongs to the hand
@example("\U0001f1e9\ud83c\uddea", [1, 2])  # half a flag's second letter
@example("\r\n", [1])
@example("好\r\n", [2])
@example("\ud83d\r", [1])
def test_text_split_anyhow_gives_the_same_characters(
    text: str, cuts: list[int]
) -> None:
    runs = split(pieces(text, cuts))
    expected = clean(text)
    assert "".join(runs) == expected
    found = [character for run in runs for character in characters(run)]
    assert found == regex.findall(r"\X", expected)


@given(texts)
def test_text_split_into_single_code_points_gives_the_same_characters(
    text: str,
) -> None:
    found = [c for run in split(list(text)) for c in characters(run)]
    assert found == characters(clean(text))


@given(texts, cuts)
def test_what_comes_out_is_utf8_with_plain_line_ends(
    text: str, cuts: list[int]
) -> None:
    for run in split(pieces(text, cuts)):
        run.encode()
        assert "\r" not in run


@given(texts)
def test_boundaries_are_increasing_and_end_with_the_text(text: str) -> None:
    text = clean(text)
    ends = boundaries(text)
    if ends is not None:
        assert list(ends) == sorted(set(ends))
        assert ends[-1] == len(text)
        assert len(ends) < len(text)


@pytest.mark.parametrize(
    ("pieces", "runs"),
    [
        pytest.param(["ab", "c"], ["a", "b", "c"], id="the last one is held back"),
        pytest.param(["a\n"], ["a\n", ""], id="nothing joins a line end: at once"),
        pytest.param(["a\r", "\nb"], ["a", "\n", "b"], id="CRLF cut in two"),
        pytest.param(["a\r", "b"], ["a", "\n", "b"], id="a lone CR"),
        pytest.param(["\r", "\r", "\n"], ["", "\n", "\n", ""], id="CR, CRLF"),
        pytest.param(["a\r"], ["a", "\n"], id="CR at the end of the text"),
        pytest.param(["", ""], ["", "", ""], id="nothing"),
        pytest.param(
            ["👨", "\u200d", "👩", "x"], ["", "", "", "👨‍👩", "x"], id="family"
        ),
        pytest.param(["🇩", "🇪", "🇫"], ["", "", "🇩🇪", "🇫"], id="flag and half a flag"),
        pytest.param(["\ud83d", "\udc4d"], ["", "", "👍"], id="a pair cut in two"),
        pytest.param(["\ud83d", "a"], ["", "\ufffd", "a"], id="a high surrogate alone"),
        pytest.param(["\udc4d\ud83d"], ["", "\ufffd\ufffd"], id="the wrong way round"),
    ],
)
def test_what_is_given_after_each_piece(pieces: list[str], runs: list[str]) -> None:
    assert split(pieces) == runs


@pytest.mark.parametrize(
    "grown", ["\u0301", "\u200d\U0001f469", "\ud83c\udffd", "\U0001f3fd\ud83c"]
)
def test_a_character_without_end_is_not_held_for_ever(grown: str) -> None:
    splitter = Splitter()
    fed, out = "👩", splitter.feed("👩")
    for piece in grown * LONGEST_HELD:
        fed += piece
        out += splitter.feed(piece)
        assert len(clean(fed)) - len(out) <= LONGEST_HELD
    assert out + splitter.close() == clean(fed)


def test_boundaries_are_left_out_when_each_character_is_one_code_point() -> None:
    assert boundaries("") is None
    assert boundaries("plain\n") is None
    assert boundaries("你好é") is None
    assert boundaries("a" + FAMILY + FLAGS) is not None
