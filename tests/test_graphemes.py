"""Characters of text that arrives in pieces, against the invariants of `chatsvc.graphemes`."""

import itertools
import sys

import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

import chatsvc.graphemes
from chatsvc.graphemes import LONGEST_CHARACTER, Splitter, boundaries

from .adversarial import CORPUS, SAMPLES

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
# Of a few classes of UAX #29 at a time, so that code points meet that have to do with each other.
hard_texts = (
    st.lists(st.sampled_from([*SAMPLES.values()]), min_size=1, max_size=4)
    .map("".join)
    .flatmap(lambda samples: st.text(st.sampled_from(samples), max_size=60))
)


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


def defined(text: str) -> list[str]:
    """The characters of clean text, as PROTOCOL.md defines them."""
    found: list[str] = []
    while text:
        longest = text[: chatsvc.graphemes.LONGEST_CHARACTER]
        first = regex.match(r"\X", longest)
        assert first is not None
        found.append(first[0])
        text = text[len(found[-1]) :]
    return found


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
    assert found == characters(expected) == defined(expected)


@given(texts | hard_texts, cuts, st.sampled_from([2, 3, 4, 5, 8, LONGEST_CHARACTER]))
@example(FLAGS[:2] + "\u094dक", [], 256)  # a linker that no consonant is before
@settings(max_examples=400)
def test_a_character_ends_in_time_however_the_text_is_cut(
    text: str, cuts: list[int], longest: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chatsvc.graphemes, "LONGEST_CHARACTER", longest)
        expected = defined(clean(text))
        assert characters(clean(text)) == expected
        for parts in (pieces(text, cuts), list(text)):
            assert [c for run in split(parts) for c in characters(run)] == expected


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("size", [1, 7, 255, 256, 257, 3000])
def test_hard_texts_give_the_same_characters_however_they_are_cut(
    name: str, size: int
) -> None:
    text = CORPUS[name](3000)
    expected = defined(clean(text))
    assert characters(clean(text)) == expected
    runs = split(pieces(text, [*range(0, 3000, size)]))
    assert [c for run in runs for c in characters(run)] == expected


def test_what_follows_a_forced_end_is_cut_as_if_the_text_began_there() -> None:
    chain = "😀" + "\u200d😀" * 128  # 257 code points
    assert characters(chain) == [chain[:256], chain[256:]]
    assert characters("\u0600" * 255 + FLAGS) == [
        "\u0600" * 255 + FLAGS[0],
        FLAGS[1:3],
        FLAGS[3:],
    ]


def test_a_code_point_that_joins_nothing_is_a_character_beside_any_other_of_these() -> (
    None
):
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    plain = chatsvc.graphemes._joining.sub("", everything)
    assert len(plain) > 1_000_000
    assert len(regex.findall(r"\X", plain)) == len(plain)
    between = "a".join(plain)
    assert len(regex.findall(r"\X", between)) == len(between)


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
def test_a_character_without_end_is_held_until_it_is_as_long_as_one_may_be(
    grown: str,
) -> None:
    splitter = Splitter()
    fed, out = "👩", splitter.feed("👩")
    for piece in grown * LONGEST_CHARACTER:
        fed += piece
        out += splitter.feed(piece)
        assert len(clean(fed)) - len(out) <= LONGEST_CHARACTER
    assert out + splitter.close() == clean(fed)


def test_boundaries_are_left_out_when_each_character_is_one_code_point() -> None:
    assert boundaries("") is None
    assert boundaries("plain\n") is None
    assert boundaries("你好é") is None
    assert boundaries("a" + FAMILY + FLAGS) is not None
