"""What the AI SDK's UI message stream says of a reply, and what a page makes of that (PROTOCOL.md section 5)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.model import (
    Data,
    End,
    Extra,
    File,
    Finish,
    Piece,
    Reasoning,
    Source,
    ToolCall,
    ToolResult,
)
from chatsvc.replies import PartItem
from chatsvc.requests.ui_messages import Continued, call_ids, to_openai
from chatsvc.transports.ui import UIChunks
from chatsvc.transports.ui_calls import CUT_OFF, NOT_JSON
from chatsvc.transports.ui_parts import UIParts
from chatsvc.transports.ui_replay import earlier_steps
from chatsvc.units import PartText, Unit

from .parts_script import only_text, side_pieces, written
from .parts_script import texts as pieces_of_text
from .ui_page import Page, chunks_of, texts

REPLY = "r" * 22
DONE = End("done", "stop")


def units_of(script: list[Piece]) -> list[Unit]:
    """The units of a script, as a reader of parts is given them."""
    return [
        PartText(0, u) if isinstance(u, str) else u for u in written(script) if u != ""
    ]


def stream(
    script: list[Piece],
    end: End = DONE,
    continued: Continued | None = None,
    *,
    replay: bool = False,
) -> bytes:
    """The body of a whole stream, each unit in a batch of its own."""
    codec = UIChunks(REPLY, continued, replay=replay)
    events = codec.first() + codec.past()
    for unit in units_of(script):
        events += codec.part_events([PartItem(0, unit)])
    return b"".join([*events, *(codec.end(end) or [])])


def page_of(*pieces: Piece, end: End = DONE) -> Page:
    page = Page()
    page.take(stream(list(pieces), end))
    return page


def types(body: bytes) -> list[str]:
    return [chunk["type"] for chunk in chunks_of(body)]


@st.composite
def with_results(draw: st.DrawFn) -> list[Piece]:
    """Scripts in which calls have results, too; a call that has one gets no more arguments."""
    answered: set[str] = set()
    script: list[Piece] = []
    results = st.builds(
        ToolResult,
        st.sampled_from(["1", "2", "3", "9"]),
        st.none() | st.text(max_size=3),
        st.booleans(),
    )
    for piece in draw(st.lists(pieces_of_text | side_pieces | results, max_size=14)):
        if isinstance(piece, ToolCall) and piece.id in answered:
            continue
        if isinstance(piece, ToolResult):
            answered.add(piece.id)
        script.append(piece)
    if draw(st.booleans()):
        script.append(Finish("tool_calls"))
    return script


ends = st.sampled_from(
    [
        DONE,
        End("done", "tool_calls", None, {"total_tokens": 7}),
        End("done", "length"),
        End("stopped", "stopped"),
        End("failed", "error", {"detail": "No more."}),
    ]
)


def cut(data: st.DataObject, units: list[Unit]) -> list[list[PartItem]]:
    """Units in batches, and their texts in pieces, as they may arrive."""
    batches: list[list[PartItem]] = [[]]
    for unit in units:
        pieces = [unit]
        if isinstance(unit, PartText) and len(unit.text) > 1:
            at = data.draw(st.integers(1, len(unit.text)))
            pieces = [
                PartText(unit.part, t) for t in (unit.text[:at], unit.text[at:]) if t
            ]
        for piece in pieces:
            if data.draw(st.booleans()):
                batches.append([])
            batches[-1].append(PartItem(0, piece))
    return batches


@given(script=with_results(), end=ends, data=st.data())
def test_a_page_has_all_of_any_reply_however_it_arrives(
    script: list[Piece], end: End, data: st.DataObject
) -> None:
    page = Page()
    page.take(stream(script, end))
    assert texts(page) == only_text(script)
    thoughts = [u.text for u in units_of(script) if isinstance(u, PartText) and u.part]
    assert set(texts(page, "reasoning")) <= set("".join(thoughts))
    other, codec = Page(), UIChunks(REPLY)
    other.take(b"".join(codec.first()))
    for batch in cut(data, units_of(script)):
        # Text alone may go the way of any text, whatever stood before it.
        if (
            len(batch) == 1
            and isinstance(batch[0].unit, PartText)
            and not batch[0].unit.part
        ):
            other.take(b"".join(codec.events(0, [batch[0].unit.text])))
        else:
            other.take(b"".join(codec.part_events(batch)))
    other.take(b"".join(codec.end(end) or []))
    assert (other.parts, other.ran, other.metadata) == (
        page.parts,
        page.ran,
        page.metadata,
    )


@given(script=with_results(), end=ends)
def test_a_page_runs_what_has_no_result_once_the_reply_is_done(
    script: list[Piece], end: End
) -> None:
    body = stream(script, end)
    page = Page()
    page.take(body)
    calls = [part for part in page.parts if "toolCallId" in part]
    waiting = [c["toolCallId"] for c in calls if c["state"] == "input-available"]
    assert page.ran == (waiting if end.state == "done" else [])
    assert end.state == "done" or not waiting
    # What the page runs comes with the end: behind it are only the last chunks.
    kinds = types(body)
    if page.ran:
        first = next(
            i
            for i, c in enumerate(chunks_of(body))
            if c["type"] == "tool-input-available" and "providerExecuted" not in c
        )
        assert set(kinds[first:]) <= {
            "tool-input-available",
            "tool-input-error",
            "message-metadata",
            "finish-step",
            "finish",
        }


@given(script=with_results())
def test_a_replay_of_a_message_is_that_message(script: list[Piece]) -> None:
    page, again = Page(), Page()
    page.take(stream([*script, Finish("tool_calls")]))
    again.take(b"".join(earlier_steps(page.parts)))
    assert not again.ran

    def shown(page: Page) -> list[dict[str, Any]]:
        parts = [dict(part) for part in page.parts]
        for part in parts:
            part.pop("providerExecuted", None)
            if part.get("state") in ("input-available", "input-streaming"):
                part.pop("state")
        return parts

    # What could not be read of a call stands elsewhere: it comes back with its error alone.
    kept = [{k: v for k, v in p.items() if k != "rawInput"} for p in shown(page)]
    broken = [p for p in shown(page) if "rawInput" in p]
    if not broken:
        assert shown(again) == kept
    assert types(b"".join(earlier_steps(page.parts))).count("tool-input-start") == len(
        call_ids(page.parts)
    )


@given(script=with_results())
def test_what_comes_back_is_a_conversation_that_models_take(
    script: list[Piece],
) -> None:
    page = Page()
    page.take(stream([*script, Finish("tool_calls")]))
    for last in (False, True):
        messages = to_openai(
            "assistant",
            page.parts,
            "messages[0]",
            frozenset({"tools", "images", "files"}),
            last=last,
        )
        called: list[str] = []
        for message in messages:
            if message["role"] == "tool":
                assert message["tool_call_id"] in called
                called.remove(message["tool_call_id"])
            else:
                assert last or not called, "a call has no result"
                called += [call["id"] for call in message.get("tool_calls", ())]
                for call in message.get("tool_calls", ()):
                    json.loads(call["function"]["arguments"])
        said = "".join(
            m["content"] or ""
            for m in messages
            if m["role"] == "assistant" and isinstance(m["content"] or "", str)
        )
        assert said == texts(page)


# ---------------------------------------------------------------------- each kind


def test_text_alone_is_what_it_was() -> None:
    codec = UIChunks(REPLY)
    body = b"".join(
        [
            *codec.first(),
            *codec.events(0, "ab"),
            *codec.events(2, ["c"]),
            *codec.end(DONE),
        ]
    )
    assert body == (
        b'data: {"type":"start","messageId":"%b"}\n\n'
        % REPLY.encode()
        + b'data: {"type":"start-step"}\n\n'
        b'data: {"type":"text-start","id":"0"}\n\n'
        b'data: {"type":"text-delta","id":"0","delta":"ab"}\n\n'
        b'data: {"type":"text-delta","id":"0","delta":"c"}\n\n'
        b'data: {"type":"text-end","id":"0"}\n\n'
        b'data: {"type":"message-metadata","messageMetadata":{"finishReason":"stop"}}\n\n'
        b'data: {"type":"finish-step"}\n\n'
        b'data: {"type":"finish"}\n\n'
        b"data: [DONE]\n\n"
    )


@pytest.mark.parametrize("script", [[], [Extra({"model": "m"})], [""]])
def test_a_reply_of_nothing_is_an_empty_text(script: list[Piece]) -> None:
    assert types(stream(script))[2:4] == ["text-start", "text-end"]


def test_a_thought_has_its_signature_where_it_comes_back() -> None:
    page = page_of(
        Reasoning("Let "), Reasoning("me.", "sig"), "So.", Reasoning("", "2")
    )
    signed = {"providerMetadata": {"chatsvc": {"signature": "sig"}}}
    assert page.parts[1:3] == [
        {"type": "reasoning", "text": "Let me.", **signed},
        {"type": "text", "text": "So."},
    ]
    assert page.parts[3]["providerMetadata"] == {"chatsvc": {"signature": "2"}}


def test_text_behind_a_call_is_another_block() -> None:
    body = stream(["a", ToolCall("1", "f", "{}"), "b"])
    blocks = [
        (c["type"], c["id"]) for c in chunks_of(body) if c["type"].startswith("text-")
    ]
    assert blocks == [(f"text-{k}", i) for i in "01" for k in ("start", "delta", "end")]


def test_a_source_is_within_the_text_and_a_file_between_texts() -> None:
    page = page_of(
        "a",
        Source("https://e.org/", "E", 0, 1),
        Data("d", 1),
        "b",
        File("image/png", "data:,", "n"),
        "c",
    )
    assert [part["type"] for part in page.parts] == [
        "step-start",
        "text",
        "source-url",
        "data-d",
        "file",
        "text",
    ]
    assert texts(page) == "abc"
    assert page.parts[2]["providerMetadata"] == {"chatsvc": {"start": 0, "end": 1}}
    assert page.parts[4]["providerMetadata"] == {"chatsvc": {"name": "n"}}


def test_a_later_value_takes_the_place_of_the_one_before() -> None:
    page = page_of(Data("s", "busy", "1"), Data("s", None, "1"), Data("s", 5))
    assert [part["data"] for part in page.parts[1:]] == [None, 5]


def test_the_metadata_of_a_call_comes_with_its_whole_input_alone() -> None:
    sign = {"google": {"sign": "x"}}
    body = stream(
        [
            ToolCall("1", "f", '{"a":'),
            ToolCall("1", "", "1}", sign),
            Finish("tool_calls"),
        ]
    )
    found = [c for c in chunks_of(body) if "providerMetadata" in c]
    assert [(c["type"], c["providerMetadata"]) for c in found] == [
        ("tool-input-available", {"chatsvc": {"metadata": sign}})
    ]


@pytest.mark.parametrize("text", ["", '{"a":1}', "SELECT *\nFROM t"])
def test_the_input_of_a_custom_tool_is_its_text(text: str) -> None:
    script: list[Piece] = [
        ToolCall("1", "f", text, type="custom", more={"a": "x"}),
        ToolCall("1", more={"a": "y"}),
        Finish("tool_calls"),
    ]
    page = page_of(*script)
    assert (page.parts[1]["state"], page.parts[1]["input"]) == ("input-available", text)
    [whole] = [c for c in chunks_of(stream(script)) if "providerMetadata" in c]
    kept = {"type": "custom", "more": {"a": "xy"}}
    assert whole["providerMetadata"] == {"chatsvc": kept}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", {}),
        (" \n", {}),
        ('{"a":\r\n1.50}', {"a": 1.5}),
        (
            '{"big":123456789012345678901234567890}',
            {"big": 123456789012345678901234567890},
        ),
        ('{"a":"\u2028"}', {"a": "\u2028"}),
        ("[1]", [1]),
        ("null", None),
    ],
)
def test_arguments_that_are_json_are_the_input(
    arguments: str, expected: object
) -> None:
    page = page_of(ToolCall("1", "f", arguments), Finish("tool_calls"))
    assert (page.parts[1]["state"], page.parts[1]["input"]) == (
        "input-available",
        expected,
    )
    assert page.ran == ["1"]


@pytest.mark.parametrize(
    "arguments", ['{"a"', "{} {}", "nul", "{'a': 1}", "NaN", "[" * 5000]
)
def test_other_arguments_are_an_error_with_the_raw_text(arguments: str) -> None:
    page = page_of(ToolCall("1", "f", arguments), Finish("tool_calls"))
    call = page.parts[1]
    assert (call["state"], call["rawInput"], call["errorText"]) == (
        "output-error",
        arguments,
        NOT_JSON,
    )
    assert not page.ran


def test_a_call_that_the_end_has_cut_is_not_run() -> None:
    page = page_of(ToolCall("1", "f", "{}"), end=End("done", "length"))
    assert (page.parts[1]["state"], page.parts[1]["errorText"]) == (
        "output-error",
        CUT_OFF,
    )


@pytest.mark.parametrize("end", [End("stopped", "stopped"), End("failed", "error")])
def test_a_reply_that_did_not_come_to_its_end_runs_nothing(end: End) -> None:
    page = page_of(ToolCall("1", "f", "{}"), Finish("tool_calls"), end=end)
    assert (page.parts[1]["state"], page.ran) == ("input-streaming", [])
    assert page.ended == [{"stopped": "abort", "failed": "error"}[end.state]]


def test_a_tool_that_the_backend_ran_is_in_a_step_of_its_own() -> None:
    page = page_of(
        "a",
        ToolCall("1", "f", "{}"),
        ToolResult("1", ["r"]),
        "b",
        ToolCall("2", "g", "{}"),
        ToolResult("2", {"why": 1}, True),
    )
    assert [part["type"] for part in page.parts] == [
        "step-start",
        "text",
        "tool-f",
        "step-start",
        "text",
        "tool-g",
    ]
    assert [part["output"] for part in page.parts if "output" in part] == [["r"]]
    assert page.parts[-1]["errorText"] == '{"why":1}'
    assert all(part["providerExecuted"] for part in page.parts if "toolCallId" in part)
    assert not page.ran


def test_a_step_waits_for_the_calls_that_have_no_result_yet() -> None:
    page = page_of(
        ToolCall("1", "f", "{}"),
        ToolCall("2", "g", "{}"),
        ToolResult("1", 1),
        "a",
        ToolResult("2", 2),
        "b",
    )
    kinds = [part["type"] for part in page.parts]
    assert kinds == ["step-start", "tool-f", "tool-g", "text", "step-start", "text"]


def test_a_result_without_a_call_has_no_place() -> None:
    assert "tool-output-available" not in types(stream([ToolResult("9", 1), "a"]))


def test_how_it_ended_is_in_the_messages_metadata() -> None:
    usage = {"total_tokens": 7, "prompt_tokens_details": {"cached_tokens": 2}}
    assert page_of("a", end=End("done", "content_filter", None, usage)).metadata == {
        "finishReason": "content-filter",
        "usage": usage,
    }
    assert page_of("a", end=End("stopped", "abandoned")).metadata == {
        "finishReason": "abandoned"
    }


# ---------------------------------------------------------------------- a message goes on


EARLIER: list[dict[str, Any]] = [
    {"type": "step-start"},
    {"type": "text", "text": "Look.", "state": "done"},
    {
        "type": "tool-f",
        "toolCallId": "1",
        "state": "output-available",
        "input": {"a": 1},
        "output": "o",
    },
    {
        "type": "dynamic-tool",
        "toolName": "g",
        "toolCallId": "2",
        "state": "output-error",
        "input": {},
        "errorText": "no",
    },
]
CONTINUED = Continued("own", EARLIER, ["3"])


def test_a_message_that_goes_on_keeps_its_id_and_its_parts() -> None:
    page = Page(EARLIER)
    page.take(stream(["It is."], continued=CONTINUED))
    assert page.id == "own"
    assert page.parts == [
        *EARLIER,
        {"type": "step-start"},
        {"type": "text", "text": "It is."},
    ]


def test_its_replay_repeats_the_earlier_steps_and_runs_nothing() -> None:
    page = Page()
    body = stream(["It is."], continued=CONTINUED, replay=True)
    page.take(body)
    assert (page.id, page.ran) == ("own", [])
    assert "tool-input-available" not in types(body)
    shown = [{k: v for k, v in part.items() if k != "state"} for part in EARLIER[:2]]
    assert page.parts == [
        *shown,
        *EARLIER[2:],
        {"type": "step-start"},
        {"type": "text", "text": "It is."},
    ]


def test_a_signature_of_a_call_survives_the_replay() -> None:
    sign = {"chatsvc": {"metadata": "s"}}
    page = Page()
    page.take(b"".join(earlier_steps([{**EARLIER[2], "callProviderMetadata": sign}])))
    assert page.parts[0]["callProviderMetadata"] == sign
    assert (page.parts[0]["state"], page.ran) == ("output-available", [])


def test_a_call_gets_an_id_that_no_other_call_has() -> None:
    page = Page(EARLIER)
    script: list[Piece] = [
        ToolCall("1", "f", "{}"),
        ToolCall("3", "h", "{}"),
        ToolResult("3", 1),
    ]
    page.take(stream(script, continued=CONTINUED))
    assert [p["toolCallId"] for p in page.parts if "toolCallId" in p] == [
        "1",
        "2",
        "1-2",
        "3-2",
    ]
    assert page.parts[-1]["output"] == 1


def test_the_backend_may_have_the_result_of_an_earlier_call() -> None:
    waiting = {
        "type": "tool-f",
        "toolCallId": "1",
        "state": "input-available",
        "input": {},
    }
    page = Page([waiting])
    page.take(
        stream([ToolResult("1", "yes"), "So."], continued=Continued("own", [waiting]))
    )
    assert (page.parts[0]["state"], page.parts[0]["output"]) == (
        "output-available",
        "yes",
    )
    assert texts(page) == "So."


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text"},
        {"type": "reasoning", "text": 5},
        {"type": "tool-f"},
        {"type": "tool-f", "toolCallId": 5},
        {"type": "dynamic-tool", "toolCallId": "1"},
        {"type": "source-url", "url": "https://e.org/"},
        {"type": "file", "url": None, "mediaType": "image/png"},
        {"type": "steering-message", "parts": []},
        {"type": ""},
    ],
)
def test_what_is_no_part_that_a_page_can_have_is_not_replayed(
    part: dict[str, Any],
) -> None:
    assert earlier_steps([part]) == []


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda v: (
        st.lists(v, max_size=2) | st.dictionaries(st.text(max_size=2), v, max_size=2)
    ),
    max_leaves=4,
)
kinds = st.sampled_from(
    [
        "text",
        "reasoning",
        "tool-f",
        "dynamic-tool",
        "file",
        "source-url",
        "source-document",
        "data-x",
        "step-start",
        "x",
    ]
)
names = st.sampled_from(
    [
        "text",
        "toolCallId",
        "toolName",
        "state",
        "input",
        "output",
        "errorText",
        "url",
        "mediaType",
        "sourceId",
        "title",
        "id",
        "data",
        "providerMetadata",
        "callProviderMetadata",
        "providerExecuted",
    ]
)


@given(
    st.lists(
        st.builds(
            lambda kind, members: {**members, "type": kind},
            kinds,
            st.dictionaries(names, odd, max_size=6),
        ),
        max_size=5,
    )
)
def test_a_replay_of_anything_is_what_the_schemas_take(
    parts: list[dict[str, Any]],
) -> None:
    from .ui_page import check

    for chunk in chunks_of(b"".join(earlier_steps(parts))):
        check(chunk)


def test_kinds_of_a_later_version_are_passed_over() -> None:
    from chatsvc.units import Close, Mark

    parts = UIParts()
    items: list[Unit] = [Mark(1, "new", {}), PartText(1, "x"), Close(1)]
    assert parts.events([PartItem(0, unit) for unit in items]) == []
