"""The messages of the AI SDK's pages, as models are given them (PROTOCOL.md section 5)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatsvc.model import ABILITIES
from chatsvc.problems import InvalidRequest
from chatsvc.requests.ui import LONGEST_CHAT_ID, parse_turn
from chatsvc.requests.ui_messages import (
    DENIED,
    Continued,
    decode_continued,
    encode_continued,
    to_openai,
)
from chatsvc.requests.values import RequestLimits

LIMITS = RequestLimits(1 << 15, 1 << 20, ABILITIES)
PDF = "data:application/pdf;base64,AA=="


def said(
    *parts: dict[str, Any], role: str = "assistant", last: bool = False
) -> list[dict[str, Any]]:
    return to_openai(role, list(parts), "messages[0]", ABILITIES, last=last)


def text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "state": "done"}


def call(id: str = "1", state: str = "output-available", **more: Any) -> dict[str, Any]:
    return {
        "type": "tool-f",
        "toolCallId": id,
        "state": state,
        "input": {"a": 1},
        **more,
    }


def function(id: str, name: str = "f", arguments: str = '{"a":1}') -> dict[str, Any]:
    return {
        "id": id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


STEP = {"type": "step-start"}


def test_text_is_a_string() -> None:
    assert said(text("a"), text("b"), role="user") == [
        {"role": "user", "content": "ab"}
    ]
    assert said(STEP, text("a")) == [{"role": "assistant", "content": "a"}]
    assert said(text("s"), role="system") == [{"role": "system", "content": "s"}]


def test_steps_become_messages_with_their_results_behind() -> None:
    dynamic = {
        "type": "dynamic-tool",
        "toolName": "g",
        "toolCallId": "2",
        "state": "output-error",
        "input": {},
        "errorText": "no",
    }
    assert said(
        STEP,
        text("Look."),
        call(output=[1]),
        dynamic,
        STEP,
        text("So."),
        STEP,
        call("3", output="s"),
        STEP,
    ) == [
        {
            "role": "assistant",
            "content": "Look.",
            "tool_calls": [function("1"), function("2", "g", "{}")],
        },
        {"role": "tool", "tool_call_id": "1", "content": "[1]"},
        {"role": "tool", "tool_call_id": "2", "content": "no"},
        {"role": "assistant", "content": "So."},
        {"role": "assistant", "content": None, "tool_calls": [function("3")]},
        {"role": "tool", "tool_call_id": "3", "content": "s"},
    ]


@pytest.mark.parametrize(
    ("state", "more", "result"),
    [
        ("output-available", {"output": None}, "null"),
        ("output-available", {}, "null"),
        ("output-error", {"errorText": "no"}, "no"),
        ("output-denied", {"approval": {"approved": False, "reason": "mine"}}, "mine"),
        ("output-denied", {}, DENIED),
        ("approval-responded", {"approval": {"approved": False}}, DENIED),
    ],
)
def test_each_state_that_has_a_result(
    state: str, more: dict[str, Any], result: str
) -> None:
    [_, answer] = said(call(state=state, **more))
    assert answer == {"role": "tool", "tool_call_id": "1", "content": result}


@pytest.mark.parametrize(
    "state",
    [
        "input-available",
        "approval-requested",
        "approval-responded",
        "of-a-later-version",
    ],
)
def test_a_call_without_a_result_is_the_backends_only_in_the_last_step(
    state: str,
) -> None:
    waiting = call(state=state, approval={"approved": True})
    assert said(STEP, text("a"), waiting) == [{"role": "assistant", "content": "a"}]
    [message] = said(STEP, text("a"), waiting, last=True)
    assert message["tool_calls"] == [function("1")]
    assert said(STEP, waiting, STEP, text("a"), last=True) == [
        {"role": "assistant", "content": "a"}
    ]


def test_a_call_that_is_not_whole_is_none() -> None:
    assert said(STEP, call(state="input-streaming"), last=True) == []


def test_what_could_not_be_read_of_a_call_is_a_string_of_json() -> None:
    for broken in ({"input": None, "rawInput": '{"a"'}, {"input": '{"a"'}):
        [message, _] = said(call(state="output-error", errorText="no", **broken))
        assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == '{"a"'


def test_thoughts_and_signatures_are_members() -> None:
    signed = {
        "type": "reasoning",
        "text": "b",
        "providerMetadata": {"chatsvc": {"signature": "s"}},
    }
    metadata = {"chatsvc": {"metadata": {"google": 1}}}
    [message, _] = said(
        {"type": "reasoning", "text": "a"},
        signed,
        call(output=1, callProviderMetadata=metadata),
    )
    assert message["reasoning_content"] == "ab"
    assert message["reasoning_details"] == [
        {"index": 0, "type": "reasoning.text", "text": "b", "signature": "s"}
    ]
    assert message["tool_calls"] == [{**function("1"), "extra_content": {"google": 1}}]


def test_a_call_of_a_custom_tool_and_further_members_come_back() -> None:
    kept = {"type": "custom", "more": {"a": 1, "custom": {"b": 2}}}
    given = call(output=1, input="SELECT", callProviderMetadata={"chatsvc": kept})
    [message, _] = said(given)
    name = function("1")["function"]["name"]
    tool = {"b": 2, "name": name, "input": "SELECT"}
    custom = {"a": 1, "id": "1", "type": "custom", "custom": tool}
    assert message["tool_calls"] == [custom]


def test_a_thought_alone_is_no_message() -> None:
    assert said(STEP, {"type": "reasoning", "text": "hm"}) == []


def test_metadata_of_others_is_passed_over() -> None:
    for metadata in (
        None,
        5,
        {"chatsvc": 5},
        {"other": {"signature": "s"}},
        {"chatsvc": {"signature": 5}},
    ):
        [message] = said(
            {"type": "reasoning", "text": "a", "providerMetadata": metadata}, text("b")
        )
        assert message == {
            "role": "assistant",
            "content": "b",
            "reasoning_content": "a",
        }


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"mediaType": "image/png", "url": "data:,x"},
            {"type": "image_url", "image_url": {"url": "data:,x"}},
        ),
        (
            {"mediaType": "image", "url": "https://e.org/"},
            {"type": "image_url", "image_url": {"url": "https://e.org/"}},
        ),
        (
            {"mediaType": "audio/mpeg", "url": "data:audio/mpeg;base64,AA"},
            {"type": "input_audio", "input_audio": {"data": "AA", "format": "mp3"}},
        ),
        (
            {"mediaType": "audio/wav", "url": "DATA:;base64,AA"},
            {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
        ),
        (
            {"mediaType": "audio/wav", "url": "https://e.org/a"},
            {
                "type": "file",
                "file": {"filename": "file-1.wav", "file_data": "https://e.org/a"},
            },
        ),
        (
            {"mediaType": "application/pdf", "url": PDF},
            {"type": "file", "file": {"filename": "file-1.pdf", "file_data": PDF}},
        ),
        (
            {"mediaType": "application/pdf", "url": PDF, "filename": "a.pdf"},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}},
        ),
    ],
)
def test_files_are_parts_of_the_content(
    part: dict[str, Any], expected: dict[str, Any]
) -> None:
    [message] = said({"type": "file", **part}, text("what?"), role="user")
    assert message["content"] == [expected, {"type": "text", "text": "what?"}]


def test_images_that_a_model_has_made_come_back_as_they_came() -> None:
    image = {"type": "file", "mediaType": "image/png", "url": "data:,x"}
    assert said(STEP, text("a"), image, text("b")) == [
        {
            "role": "assistant",
            "content": "ab",
            "images": [{"type": "image_url", "image_url": {"url": "data:,x"}}],
        }
    ]


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ({"type": "text"}, "parts[1].text must be a string"),
        ({"type": "text", "text": 5}, "parts[1].text must be a string"),
        (
            {"type": "file", "url": "blob:x", "mediaType": "image/png"},
            "parts[1].url must begin with data:",
        ),
        ({"type": "file", "url": "data:,"}, "parts[1].mediaType must be a string"),
        (
            {"type": "tool-f", "state": "input-available"},
            "parts[1].toolCallId must be a string",
        ),
        (
            {"type": "tool-f", "toolCallId": "1", "state": "output-error"},
            "parts[1].errorText must be a string",
        ),
        ({"type": 5}, "parts[1].type must be a string"),
        ({}, "parts[1].type must be a string"),
    ],
)
def test_what_is_malformed_is_named(part: dict[str, Any], place: str) -> None:
    body = {"id": "c", "messages": [{"role": "assistant", "parts": [text("a"), part]}]}
    with pytest.raises(InvalidRequest, match="messages") as refused:
        parse_turn(json.dumps(body).encode(), LIMITS)
    assert refused.value.detail.startswith(f"messages[0].{place}")


@pytest.mark.parametrize(
    ("part", "ability"),
    [
        ({"type": "file", "mediaType": "image/png", "url": "data:,x"}, "images"),
        ({"type": "file", "mediaType": "audio/wav", "url": "data:;base64,AA"}, "audio"),
        ({"type": "file", "mediaType": "application/pdf", "url": PDF}, "files"),
        (call(output=1), "tools"),
    ],
)
def test_what_the_backend_does_not_take_is_named(
    part: dict[str, Any], ability: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        to_openai(
            "assistant",
            [text("a"), part],
            "messages[3]",
            ABILITIES - {ability},
            last=True,
        )
    assert (
        refused.value.detail
        == f"messages[3].parts[1] must be text: the backend takes no {ability}."
    )


# ---------------------------------------------------------------------- what the page has


def turn(*messages: dict[str, Any], **more: Any) -> Continued:
    body = {"id": "c", "messages": messages, **more}
    return parse_turn(json.dumps(body).encode(), LIMITS).continued


USER = {"id": "u", "role": "user", "parts": [text("x")]}


def test_a_reply_goes_on_with_the_last_message_if_it_is_the_assistants() -> None:
    earlier = {"id": "a", "role": "assistant", "parts": [call("0", output=1)]}
    parts = [STEP, call("1", output=1)]
    last = {"id": "b", "role": "assistant", "parts": parts}
    assert turn(USER) == Continued()
    assert turn(USER, earlier, USER) == Continued(taken=["0"])
    assert turn(USER, earlier, USER, last) == Continued("b", parts, ["0"])
    assert turn(USER, {k: v for k, v in last.items() if k != "id"}) == Continued(
        taken=["1"]
    )
    assert turn(USER, last).calls() == ["1"]


def test_a_message_whose_id_is_too_long_is_refused() -> None:
    last = {
        "id": "b" * (LONGEST_CHAT_ID + 1),
        "role": "assistant",
        "parts": [text("a")],
    }
    with pytest.raises(InvalidRequest, match=r"messages\[1\]\.id"):
        turn(USER, last)


def test_what_is_kept_comes_back() -> None:
    for continued in (
        Continued(),
        Continued("a", [call(output={"n": 2**80})], ["1"]),
        Continued(taken=["你"]),
    ):
        assert decode_continued(encode_continued(continued)) == continued
    assert encode_continued(Continued()) == ""
    for other in ("{", "5", '{"message":5}', '{"parts":[5]}', "[" * 5000):
        assert decode_continued(other) == Continued()
    assert decode_continued('{"message":"a","later":1}') == Continued("a")
