"""What a backend yields becomes the units of a reply: in order, within limits, nothing lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.graphemes import Splitter, boundaries
from chatsvc.model import (
    Data,
    Extra,
    File,
    Finish,
    Piece,
    Reasoning,
    Source,
    ToolCall,
    ToolResult,
)
from chatsvc.problems import BackendFailed
from chatsvc.replies.part_writer import Output, PartWriter
from chatsvc.units import MARK_BYTES, Close, Mark, PartText, size_of
from tests.parts_script import only_text, open_parts, scripts, single_units, written


def flat(*script: Piece) -> list[Any]:
    """The output with texts that follow each other joined, and without empty ones."""
    return joined(written([*script]))


def joined(output: Output) -> list[Any]:
    """The same for an output."""
    found: list[Any] = []
    for each in output:
        if isinstance(each, str) and found and isinstance(found[-1], str):
            found[-1] += each
        elif each != "":
            found.append(each)
    return found


def call(part: int, id: str, name: str = "f", **members: Any) -> Mark:
    return Mark(part, "tool_call", {"id": id, "name": name, **members})


@given(scripts)
def test_the_answer_is_that_of_the_text_pieces_alone(script: list[Piece]) -> None:
    text = "".join(each for each in written(script) if isinstance(each, str))
    assert text == only_text(script)


@given(scripts)
def test_parts_are_numbered_and_well_formed(script: list[Piece]) -> None:
    begun = 0
    open_now: dict[int, Mark] = {}
    for each in written(script):
        match each:
            case str():
                each.encode()
                assert "\r" not in each
                assert not each or not any(
                    mark.kind == "reasoning" for mark in open_now.values()
                )
            case Mark():
                begun += 1
                assert each.part == begun
                if not each.whole:
                    open_now[each.part] = each
            case PartText():
                assert each.text.encode()
                assert each.part in open_now
            case Close():
                del open_now[each.part]


@given(scripts)
def test_where_a_side_unit_stands_a_character_ends(script: list[Piece]) -> None:
    # Pieces of answer text hold whole characters: cut anew, they give the same ones as in one.
    run = ""
    for each in [*written(script), Mark(9, "data", whole=True)]:
        if isinstance(each, str):
            run += each
        else:
            assert not run or (boundaries(run) or [len(run)])[-1] == len(run)
            run = ""


@given(scripts)
def test_side_texts_are_those_of_the_pieces(script: list[Piece]) -> None:
    units = single_units(written(script))
    for id in "123":
        pieces = [p.arguments for p in script if isinstance(p, ToolCall) and p.id == id]
        parts = [
            str(unit.part)
            for _, unit in units
            if isinstance(unit, Mark) and unit.members.get("id") == id
        ]
        text = "".join(str(c) for part, c in units if part in parts)
        whole = "".join(pieces).encode("utf-16-le", "surrogatepass")
        assert text == whole.decode("utf-16-le", "replace")
    thought = "".join(
        str(c)
        for part, c in units
        if part
        in {
            str(u.part)
            for _, u in units
            if isinstance(u, Mark) and u.kind == "reasoning"
        }
    )
    said = "".join(p.text for p in script if isinstance(p, Reasoning))
    # Halves that stood in two parts are two, so what could be joined may be one shorter each time.
    assert len(thought) >= len(
        said.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    )


@given(scripts, st.integers(0, 600))
def test_what_has_no_room_ends_it_at_a_whole_unit(
    script: list[Piece], room: int
) -> None:
    everything = single_units(written(script))
    kept = written(script, room)
    units = single_units(kept)
    if units != everything[: len(units)]:
        # Half a pair, or a `\r`, that waited: the reply has ended.
        assert units.pop() in (("0", "\n"), ("0", "\ufffd"))
    assert units == everything[: len(units)]
    texts = [""] * 99
    marks = 0
    for each in kept:
        if isinstance(each, PartText):
            texts[each.part] += each.text
        elif not isinstance(each, str):
            marks += size_of(each)
    assert sum(len(text.encode()) for text in texts) + marks <= room


def test_reasoning_ends_where_the_answer_begins() -> None:
    assert flat(Reasoning("Let me "), Reasoning(""), "", Reasoning("see."), "你好") == [
        Mark(1, "reasoning"),
        PartText(1, "Let me "),
        PartText(1, "see."),
        Close(1),
        "你好",
    ]


def test_reasoning_ends_where_a_call_begins_and_nowhere_else() -> None:
    source = Source("https://a.b")
    assert flat(
        Reasoning("a"), source, Reasoning("b"), ToolCall("1", "f"), Reasoning("c")
    ) == [
        Mark(1, "reasoning"),
        PartText(1, "a"),
        Mark(2, "source", {"url": "https://a.b"}, whole=True),
        PartText(1, "b"),
        Close(1),
        call(3, "1"),
        Mark(4, "reasoning"),
        PartText(4, "c"),
    ]


def test_a_signature_ends_reasoning_or_is_a_part_of_its_own() -> None:
    signed = {"signature": "s"}
    assert flat(Reasoning("a", "s"), Reasoning(signature="s"), Reasoning("b"), "x") == [
        Mark(1, "reasoning"),
        PartText(1, "a"),
        Close(1, signed),
        Mark(2, "reasoning", signed, whole=True),
        Mark(3, "reasoning"),
        PartText(3, "b"),
        Close(3),
        "x",
    ]


def test_a_half_waits_in_its_own_part_and_says_nothing_before() -> None:
    smile = "😀"
    high, low = "\ud83d", "\ude00"
    assert flat("a" + high, Reasoning("b" + high), low, Reasoning(low)) == [
        "a",
        Mark(1, "reasoning"),
        PartText(1, "b"),
        PartText(1, "\ufffd"),
        Close(1),
        smile,
        Mark(2, "reasoning"),
        PartText(2, "\ufffd"),
    ]
    # Half a pair of the answer begins nothing, so it does not end the reasoning.
    assert flat(Reasoning("b" + high), high, Reasoning(low), low) == [
        Mark(1, "reasoning"),
        PartText(1, "b"),
        PartText(1, smile),
        Close(1),
        smile,
    ]


def test_a_line_end_waits_too_and_is_one_in_the_answer_alone() -> None:
    assert flat("a\r", Reasoning("x\r"), Reasoning("\ny"), "\nb\r") == [
        "a",
        Mark(1, "reasoning"),
        PartText(1, "x\r"),
        PartText(1, "\ny"),
        Close(1),
        "\nb\n",
    ]
    assert flat(Reasoning("x"), "\r") == [
        Mark(1, "reasoning"),
        PartText(1, "x"),
        Close(1),
        "\n",
    ]


def test_what_a_side_unit_cuts_in_two_begins_anew() -> None:
    data = Mark(1, "data", {"name": "n", "value": None}, whole=True)
    assert flat("e", Data("n", None), "\u0301") == ["e", data, "\u0301"]


def test_calls_grow_side_by_side_until_the_finish() -> None:
    assert flat(
        ToolCall("1", "f", "{"),
        "text",
        ToolCall("2", "g", "["),
        ToolCall("1", arguments="}"),
        ToolCall("2", arguments="]", metadata={"sig": 1}),
        Finish("tool_calls"),
    ) == [
        call(1, "1"),
        PartText(1, "{"),
        "text",
        call(2, "2", "g"),
        PartText(2, "["),
        PartText(1, "}"),
        PartText(2, "]"),
        Close(1),
        Close(2, {"metadata": {"sig": 1}}),
    ]


def test_a_result_ends_its_call_and_the_end_leaves_it_open() -> None:
    assert flat(
        ToolCall("1", "f", "{}"), ToolCall("2", "f"), ToolResult("1", [1], error=True)
    ) == [
        call(1, "1"),
        PartText(1, "{}"),
        call(2, "2"),
        Close(1),
        Mark(3, "tool_result", {"id": "1", "result": [1], "error": True}, whole=True),
    ]


def test_the_type_and_further_members_of_a_call_stand_in_its_marks() -> None:
    assert flat(
        ToolCall("1", more={"s": "a", "n": 1}),
        ToolCall("1", "f", "x", type="custom", more={"s": "b", "custom": {"l": [1]}}),
        ToolCall("1", "", "y", type="custom", more={"s": "c", "custom": {"l": [2]}}),
        ToolCall("1", more={"s": "d", "n": 2, "custom": {"l": [3]}, "id": "i"}),
        ToolCall("1", more={"id": "i", "m": 5}),
        ToolCall("1", more={"m": "text"}),
        Finish("tool_calls"),
        ToolCall("1", more={"late": 1}),
    ) == [
        call(
            1, "1", call_type="custom", more={"s": "ab", "n": 1, "custom": {"l": [1]}}
        ),
        PartText(1, "x"),
        PartText(1, "y"),
        Close(
            1,
            {
                "more": {
                    "s": "cd",
                    "n": 2,
                    "custom": {"l": [2, 3]},
                    "id": "i",
                    "m": "text",
                }
            },
        ),
    ]
    assert flat(ToolCall("1", "f"), ToolCall("1", type="mcp"), Finish()) == [
        call(1, "1"),
        Close(1, {"call_type": "mcp"}),
    ]


def test_further_members_that_wait_for_a_mark_are_bounded() -> None:
    writer = PartWriter(Splitter(), 1000)
    writer.feed(ToolCall("1", "f"))
    fed = 0
    while not writer.full and fed < 100:
        writer.feed(ToolCall("1", more={"s": "x" * 20}))
        fed += 1
    assert fed < 20


def test_a_name_may_come_late_and_arguments_wait_for_it() -> None:
    assert flat(
        ToolCall("1", arguments="{\ud83d"),
        "a",
        ToolCall("1", arguments="\ude00"),
        ToolCall("1", "f", "}", metadata="m"),
    ) == ["a", call(1, "1", metadata="m"), PartText(1, "{😀}")]


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        # By the id in each piece.
        (
            [ToolCall("a", "f", "1"), ToolCall("a", "", "2"), ToolCall("a", "f", "3")],
            ["123"],
        ),
        # By the index, with the id in the first.
        (
            [
                ToolCall("a", "f", "1", index=0),
                ToolCall("b", "g", "4", index=1),
                ToolCall("", "", "2", index=0),
            ],
            ["12", "4"],
        ),
        # Another id in each piece, and one index.
        ([ToolCall("a", "f", "1", index=0), ToolCall("b", "", "2", index=0)], ["12"]),
        # All calls have the index 0.
        (
            [ToolCall("a", "f", "1", index=0), ToolCall("b", "f", "2", index=0)],
            ["1", "2"],
        ),
        (
            [ToolCall("", "f", "1", index=0), ToolCall("", "g", "2", index=0)],
            ["1", "2"],
        ),
        # Neither: each names its tool, or goes on.
        (
            [ToolCall("", "f", "1"), ToolCall("", "f", "2"), ToolCall("", "", "3")],
            ["1", "23"],
        ),
        # The name comes late, without the id that the first piece had, or with the only one.
        (
            [ToolCall("a", "", "1"), ToolCall("", "f", "2"), ToolCall("a", "", "3")],
            ["123"],
        ),
        (
            [ToolCall("", "", "1"), ToolCall("", "f", "2"), ToolCall("", "g", "3")],
            ["12", "3"],
        ),
        ([ToolCall("", "", "1"), ToolCall("a", "f", "2")], ["12"]),
        ([ToolCall("a"), ToolCall("b", "g", "1"), ToolCall("a", "f", "2")], ["1", "2"]),
        # The index comes late.
        ([ToolCall("a", "f", "1"), ToolCall("", "", "2", index=0)], ["12"]),
        ([ToolCall("a", "", "1"), ToolCall("", "f", "2", index=0)], ["12"]),
        # The id comes last.
        ([ToolCall("", "f", "1", index=0), ToolCall("a", "", "2", index=0)], ["12"]),
        ([ToolCall("", "", "1", index=0), ToolCall("a", "f", "2", index=0)], ["12"]),
    ],
)
def test_the_call_that_a_piece_belongs_to(
    pieces: list[Piece], calls: list[str]
) -> None:
    units = single_units(written(pieces))
    marks = [unit for _, unit in units if isinstance(unit, Mark)]
    texts = [
        "".join(str(c) for part, c in units if part == str(mark.part)) for mark in marks
    ]
    assert texts == calls
    assert len({mark.members["id"] for mark in marks}) == len(calls)


def test_a_call_without_an_id_gets_one() -> None:
    [first, second] = flat(ToolCall("", "f"), ToolCall("", "f"))
    assert first.members["id"] != second.members["id"]
    assert first.members["id"].startswith("call_")
    assert len(first.members["id"]) == len("call_") + 16


def test_an_id_that_comes_before_the_name_is_the_calls() -> None:
    assert flat(
        ToolCall("", "", "1", index=0), ToolCall("a", "f", index=0), ToolResult("a", 1)
    ) == [
        call(1, "a"),
        PartText(1, "1"),
        Close(1),
        Mark(2, "tool_result", {"id": "a", "result": 1}, whole=True),
    ]


def test_an_id_that_comes_later_is_one_more() -> None:
    units = flat(
        ToolCall("", "f", index=0), ToolCall("a", "", "1", index=0), ToolResult("a", 1)
    )
    assert [type(unit) for unit in units] == [Mark, PartText, Close, Mark]


def test_empty_pieces_are_nothing() -> None:
    assert flat("", Reasoning(), ToolCall(), Extra({}), Finish()) == []
    assert flat("a", Reasoning(), "\u0301") == ["a\u0301"]
    assert flat("a", Reasoning("", ""), "\u0301") == ["a\u0301"]
    thought = [Mark(1, "reasoning"), PartText(1, "a"), PartText(1, "b")]
    assert flat(Reasoning("a", ""), Reasoning("b")) == thought


@pytest.mark.parametrize("at", ["chunk", "choice"])
def test_an_extra_that_says_nothing_new_is_left_out(at: str) -> None:
    units = flat(
        Extra({"a": 1, "b": None}, at),
        Extra({"a": 1}, at),
        Extra({"a": True}, at),
        Extra({"a": 1, "b": None, "c": [2.0]}, at),
    )
    assert [unit.members for unit in units] == [
        {"value": {"a": 1, "b": None}, "at": at},
        {"value": {"a": True}, "at": at},
        {"value": {"a": 1, "c": [2.0]}, "at": at},
    ]


def test_fragments_are_written_each_time() -> None:
    details, logprobs = {"details": [{"text": "a"}]}, {"logprobs": {"content": [1]}}
    units = flat(*[Extra(details)] * 3, *[Extra(logprobs, "choice")] * 2)
    assert [unit.members["value"] for unit in units] == [
        *[details] * 3,
        *[logprobs] * 2,
    ]


def test_a_fragment_that_is_empty_says_nothing_the_second_time() -> None:
    empty: dict[str, Any] = {"a": [], "b": "", "c": {}, "d": True, "e": 0}
    units = flat(Extra(empty), Extra(empty), Extra({**empty, "a": [1], "d": False}))
    assert [unit.members for unit in units] == [
        {"value": empty},
        {"value": {"e": 0}},
        {"value": {"a": [1], "d": False, "e": 0}},
    ]


def test_a_member_is_one_of_its_place_alone() -> None:
    places = ("chunk", "choice", "chunk")
    units = flat(*(Extra({"a": 1}, at) for at in places))
    assert [unit.members["at"] for unit in units] == ["chunk", "choice"]


def test_what_another_node_has_written_is_known() -> None:
    extra = Extra({"a": 1}, "chunk")
    before = [unit for unit in written([extra]) if isinstance(unit, Mark)]
    assert PartWriter(Splitter(), 1000, before).feed(extra) == []
    # As every version that may have written it would.
    odd = [Mark(1, "extra", {"value": {"a": 1}, "at": [1]}, True), Mark(2, "extra")]
    assert PartWriter(Splitter(), 1000, odd).feed(extra)


@dataclasses.dataclass
class Weather:
    place: str
    degrees: float


def test_values_of_an_application_become_what_json_holds() -> None:
    [mark] = flat(Data("w", Weather("\ud83d", 2.5), id="1"))
    assert mark.members == {
        "name": "w",
        "value": {"place": "\ufffd", "degrees": 2.5},
        "id": "1",
    }


_deep: list[Any] = []
for _ in range(500):
    _deep = [_deep]


@pytest.mark.parametrize(
    "script",
    [
        [ToolCall("1", arguments="{}"), Finish()],
        [ToolCall("1"), ToolResult("1", 0)],
        [ToolCall("1", "f"), Finish(), ToolCall("1", "", "more")],
        [ToolCall("1", "f"), ToolResult("1", 0), ToolCall("1", "", "more")],
        [Source("ftp://x")],
        [Source("javascript:alert(1)")],
        [File("text/html", "http://x")],
        [File("text/html", 7)],  # type: ignore[arg-type]
        [Source("http://x", title=7)],  # type: ignore[arg-type]
        [Data("n", object())],
        [Data("n", float("nan"))],
        [Data("n", _deep)],
        [Data("n", {(1, 2): 3})],
        [Data("n", {1: {2: object}})],
        [Data(7, 1)],  # type: ignore[arg-type]
        [Data("n", 10**5000)],
        [Extra([1])],  # type: ignore[arg-type]
        [Extra({"a": 1}, "delta")],
        [Extra({"a": 1}, 7)],  # type: ignore[arg-type]
        [Reasoning(b"x")],  # type: ignore[arg-type]
        [ToolCall("1", "f", {"a": 1})],  # type: ignore[arg-type]
        [ToolCall("1", "f", metadata={1, object()})],
        [ToolCall("1", "f", more={"a": object()})],
        [ToolCall("1", "f", more=[1])],  # type: ignore[arg-type]
        [ToolCall("1", "f", type=1)],  # type: ignore[arg-type]
        [7],
    ],
)
def test_what_cannot_be_is_refused(script: list[Any]) -> None:
    with pytest.raises(BackendFailed):
        written(script)


def test_what_is_refused_adds_nothing() -> None:
    writer = PartWriter(Splitter(), 1 << 20)
    out = writer.feed(ToolCall("1", "f", "{}")) + writer.feed(ToolCall("2", "", "?"))
    with pytest.raises(BackendFailed, match="without a name"):
        writer.feed(Finish())
    assert out + writer.close() == [call(1, "1"), PartText(1, "{}")]


@given(st.integers(0, 400))
def test_text_before_what_has_no_room_is_out(room: int) -> None:
    writer = PartWriter(splitter := Splitter(), room)
    out: Output = [splitter.feed("ab\r")]
    mark = Mark(1, "data", {"name": "n", "value": "x" * 200}, whole=True)
    out += writer.feed(Data("n", "x" * 200))
    size = len(msgspec.json.encode(mark)) + MARK_BYTES
    assert writer.full == (size > room)
    assert joined(out) == (["ab\n"] if writer.full else ["ab", mark])
    assert size == size_of(mark)


def test_calls_without_names_take_room_too() -> None:
    endless: Callable[[int], ToolCall]
    for endless in (lambda n: ToolCall("1", "", "x" * 9), lambda n: ToolCall(f"{n}")):
        writer = PartWriter(Splitter(), 5000)
        for number in range(1000):
            assert writer.feed(endless(number)) == []
            if writer.full:
                break
        assert writer.full
        assert number < 600


@given(scripts)
def test_what_is_open_at_the_end_are_reasoning_and_calls(script: list[Piece]) -> None:
    kinds = [mark.kind for mark in open_parts(single_units(written(script)))]
    assert set(kinds) <= {"reasoning", "tool_call"}
    assert kinds.count("reasoning") <= 1
