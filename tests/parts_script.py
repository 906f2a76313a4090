"""Scripts of pieces as a backend may yield them, for property tests of parts, and what they mean."""

from __future__ import annotations

from hypothesis import strategies as st

from chatsvc.graphemes import Splitter
from chatsvc.model import (
    Data,
    Extra,
    File,
    Piece,
    Reasoning,
    Source,
    ToolCall,
    ToolResult,
)
from chatsvc.replies.part_writer import Output, PartWriter
from chatsvc.units import Close, Mark, PartText, Unit, count_of

# Whole characters, parts of some, halves of surrogate pairs, and line ends in two.
fragments = st.sampled_from(
    [
        *(
            "",
            "a",
            " ",
            "好",
            "e",
            "\u0301",
            "\u200d",
            "👩",
            "🇩",
            "🇪",
            "\r",
            "\n",
            "\r\n",
        ),
        *("\ud83d", "\ude00", "\udc00", "x\ud83d", "\0", "ab cd", "नि", "z" * 40),
    ]
)
texts = st.lists(fragments, max_size=4).map("".join)
_json = (
    st.none() | st.booleans() | st.integers(-9, 9) | texts | st.just({"a": [1, "x"]})
)

_ids = st.sampled_from(["1", "2", "3"])
side_pieces = st.one_of(
    st.builds(Reasoning, texts, st.none() | st.just("sig")),
    # Never the id of a call that has ended: each result ends it, so results have ids of their own.
    st.builds(ToolCall, _ids, st.sampled_from(["f", "g"]), texts, st.none() | _json),
    st.builds(ToolResult, st.sampled_from(["8", "9"]), _json, st.booleans()),
    st.builds(Source, st.just("https://example.org/"), st.none() | texts),
    st.builds(File, st.just("image/png"), st.just("data:,x")),
    st.builds(Data, texts, _json, st.none() | texts),
    st.builds(
        Extra,
        st.dictionaries(st.sampled_from("ab"), _json, max_size=2),
        st.sampled_from([None, "chunk", "choice"]),
    ),
)
scripts = st.lists(texts | side_pieces, max_size=14)
"""Lists of pieces, without the errors."""


def written(script: list[Piece], room: int = 1 << 22) -> Output:
    """The units of a script, from its beginning to the end of the reply."""
    splitter = Splitter()
    writer = PartWriter(splitter, room)
    out: Output = []
    for piece in script:
        if not isinstance(piece, str):
            out += writer.feed(piece)
        else:
            if writer.interrupted:
                out += writer.begin_text(piece)
            if writer.full:
                return out
            out.append(splitter.feed(piece))
        if writer.full:
            return out
    return out + writer.close()


def only_text(script: list[Piece]) -> str:
    """The answer's text: that of the text pieces alone."""
    splitter = Splitter()
    text = "".join(splitter.feed(piece) for piece in script if isinstance(piece, str))
    return text + splitter.close()


def single_units(output: Output) -> list[tuple[str, object]]:
    """All units, each by itself: a code point with its part, or a mark."""
    found: list[tuple[str, object]] = []
    for each in output:
        if isinstance(each, str):
            found += [("0", character) for character in each]
        elif isinstance(each, PartText):
            found += [(str(each.part), character) for character in each.text]
        else:
            found.append(("mark", each))
    return found


def open_parts(units: list[tuple[str, object]]) -> list[Mark]:
    """The marks of the parts that are open behind some units, by number."""
    parts: dict[int, Mark] = {}
    for _, unit in units:
        if isinstance(unit, Mark) and not unit.whole:
            parts[unit.part] = unit
        elif isinstance(unit, Close):
            del parts[unit.part]
    return [parts[part] for part in sorted(parts)]


def outputs(units: list[Unit]) -> Output:
    """What readers are given, as the writer returned it."""
    return [
        unit.text if isinstance(unit, PartText) and not unit.part else unit
        for unit in units
    ]


def total(units: list[Unit]) -> int:
    """How many units they are."""
    return sum(map(count_of, units))
