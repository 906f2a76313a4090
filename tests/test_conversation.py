"""Conversations and options in OpenAI's form: what stays, and what is refused by its place."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.kept_prompt import keep
from chatsvc.model import ABILITIES, Message, Prompt
from chatsvc.problems import BadJson, InvalidRequest, TooLarge
from chatsvc.requests.chat import digest, read_frame, read_prompt
from chatsvc.requests.content import request_limits
from chatsvc.requests.conversation import (
    ROLES,
    check_body,
    check_structure,
    read_conversation,
)
from chatsvc.requests.openai import parse_completion
from chatsvc.requests.options import read_options
from chatsvc.requests.values import Caller, RequestLimits, Start
from tests.messages import IMAGE, json_objects, messages, openai_messages

ALL = request_limits(1000, 10_000, takes=ABILITIES, models=["*"])
NONE = request_limits(1000, 10_000, takes=(), models=())


def with_only(*takes: str) -> RequestLimits:
    return request_limits(1000, 10_000, takes=takes, models=())


# ---------------------------------------------------------------------- what stays


@given(messages)
def test_a_conversation_stays_as_it_came(given: list[dict[str, Any]]) -> None:
    prompt = read_conversation(given, ALL)
    assert [message.as_dict() for message in prompt.messages] == given
    # Also in the store, and for the node that takes it from there.
    kept = msgspec.json.decode(msgspec.json.encode(prompt), type=Prompt)
    assert [message.as_dict() for message in kept.messages] == given


@given(messages, json_objects)
def test_every_front_reads_the_same(
    given: list[dict[str, Any]], options: dict[str, Any]
) -> None:
    body = json.dumps({"messages": given, "options": options})
    prompt = read_prompt(body.encode(), ALL)
    assert [message.as_dict() for message in prompt.messages] == given
    assert prompt.options == options
    frame = read_frame(body, Caller(), ALL)
    assert isinstance(frame, Start) and frame.prompt.read() == prompt
    completion = parse_completion(
        json.dumps({**options, "messages": given}).encode(), ALL
    )
    assert [message.as_dict() for message in completion.prompt.messages] == given
    assert completion.prompt.options == options


def test_the_text_of_a_message_is_that_of_its_parts() -> None:
    content = [
        {"type": "text", "text": "What is "},
        IMAGE,
        {"type": "text", "text": "this?", "cache_control": {"type": "ephemeral"}},
        {"type": "of tomorrow", "x": 1},
    ]
    [message] = read_conversation([{"role": "user", "content": content}], ALL).messages
    assert message.content == "What is this?"
    assert message.members == {"content": content}


@given(st.lists(st.tuples(st.sampled_from(ROLES[:4]), st.text(max_size=9)), min_size=1))
def test_a_plain_conversation_is_kept_as_before(turns: list[tuple[str, str]]) -> None:
    """Byte for byte: older versions read it, and know a repeated request by its digest."""
    given = [{"role": role, "content": text} for role, text in turns]
    before = json.dumps(
        {"messages": given, "written": "", "options": {}},
        ensure_ascii=False,
        separators=(",", ":"),
    )
    prompt = read_conversation(given, ALL)
    again = msgspec.json.decode(before, type=Prompt)
    assert prompt == again and digest(keep(prompt)) == digest(keep(again))
    if "\x7f" not in before:  # one of them escapes it
        assert msgspec.json.encode(prompt).decode() == before


class MessageOfBefore(msgspec.Struct):
    """What older versions decode."""

    role: str
    content: str


@given(messages)
def test_an_older_version_reads_the_texts(given: list[dict[str, Any]]) -> None:
    prompt = read_conversation(given, ALL)
    kept = msgspec.json.encode(list(prompt.messages))
    before = msgspec.json.decode(kept, type=list[MessageOfBefore])
    for message, turn in zip(given, before, strict=True):
        content = message.get("content") or ""
        if isinstance(content, list):
            content = "".join(p["text"] for p in content if p["type"] == "text")
        assert (turn.role, turn.content) == (message["role"], content)


@given(openai_messages)
def test_a_digest_tells_the_members_apart(message: dict[str, Any]) -> None:
    prompt = read_conversation([message], ALL)
    bare = Prompt(tuple(Message(m.role, m.content) for m in prompt.messages))
    assert (digest(keep(prompt)) == digest(keep(bare))) == (prompt == bare)


# ---------------------------------------------------------------------- what is refused

USER = {"role": "user", "content": "a"}
CALLED = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
RESULT = {"role": "tool", "content": "b", "tool_call_id": "1"}


def part(kind: str, value: Any = None) -> dict[str, Any]:
    content = [{"type": "text", "text": "a"}, {"type": kind, kind: value}]
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        ({}, r"messages\[1\]\.role must be one of system, developer, user, assistant, to"),
        ({"role": 1, "content": "a"}, r"messages\[1\]\.role must be one of"),
        ({"role": "robot", "content": "a"}, r"messages\[1\]\.role must be one of"),
        ("a", r"messages\[1\] must be an object"),
        ({"role": "user"}, r"messages\[1\]\.content must be a string or a list"),
        ({"role": "user", "content": 5}, r"messages\[1\]\.content must be a string or a"),
        ({"role": "user", "content": None}, r"messages\[1\]\.content must be a string"),
        ({"role": "tool", "tool_call_id": "1"}, r"messages\[1\]\.content must be a str"),
        ({"role": "assistant", "content": {}}, r"messages\[1\]\.content must be a strin"),
        ({"role": "user", "content": ["a"]}, r"messages\[1\]\.content\[0\] must be a part"),
        ({"role": "user", "content": [{}]}, r"messages\[1\]\.content\[0\] must be a part"),
        ({"role": "user", "content": [{"type": []}]}, r"content\[0\] must be a part, an"),
        ({"role": "user", "content": [{"type": "text"}]}, r"\[0\]\.text must be a string"),
        (part("image_url"), r"messages\[1\]\.content\[1\]\.image_url must be an object"),
        (part("image_url", "http://x/"), r"content\[1\]\.image_url must be an object"),
        (part("image_url", {}), r"content\[1\]\.image_url\.url must be a string"),
        (part("image_url", {"url": 1}), r"content\[1\]\.image_url\.url must be a string"),
        (part("image_url", {"url": None}), r"\[1\]\.image_url\.url must be a string"),
        (part("input_audio", {"format": "wav"}), r"input_audio\.data must be a string"),
        (part("input_audio", {"data": ""}), r"input_audio\.format must be a string"),
        (part("file", {}), r"content\[1\]\.file must have file_data or file_id"),
        (part("file", {"file_id": None}), r"content\[1\]\.file must have file_data or"),
        (part("file", {"file_data": 1}), r"content\[1\]\.file\.file_data must be a str"),
        ({"role": "tool", "content": "b"}, r"messages\[1\]\.tool_call_id must be a stri"),
        ({**RESULT, "tool_call_id": 1}, r"messages\[1\]\.tool_call_id must be a string"),
        ({"role": "function", "content": "b"}, r"messages\[1\]\.name must be a string"),
        ({**CALLED, "tool_calls": {}}, r"messages\[1\]\.tool_calls must be a list of ob"),
        ({**CALLED, "tool_calls": [1]}, r"messages\[1\]\.tool_calls must be a list of ob"),
    ],
)  # fmt: skip
def test_what_is_malformed_is_named(message: Any, detail: str) -> None:
    with pytest.raises(InvalidRequest, match=detail):
        read_conversation([USER, message], ALL)


DATA = {"data": "AA==", "format": "wav"}


@pytest.mark.parametrize(
    ("message", "needs", "detail"),
    [
        ({"role": "user", "content": [IMAGE]}, "images", r"\[1\]\.content\[0\] must be te"),
        (part("input_audio", DATA), "audio", r"messages\[1\]\.content\[1\] must be text"),
        (part("file", {"file_id": "f"}), "files", r"messages\[1\]\.content\[1\] must be"),
        (part("of tomorrow", {}), "images", r"messages\[1\]\.content\[1\] must be a part"),
        (part("of tomorrow", {}), "audio", r"messages\[1\]\.content\[1\] must be a part"),
        (part("of tomorrow", {}), "files", r"type text, not of tomorrow"),
        (CALLED, "tools", r"messages\[1\]\.tool_calls must be empty: the backend takes no"),
        (RESULT, "tools", r"messages\[1\]\.role must not be tool: the backend takes no"),
        ({**USER, "role": "function", "name": "f"}, "tools", r"role must not be function"),
        ({**CALLED, "tool_calls": [], "function_call": {"name": "f"}}, "tools",
         r"messages\[1\]\.function_call must be empty"),
    ],
)  # fmt: skip
def test_what_a_backend_does_not_take_is_named(
    message: Any, needs: str, detail: str
) -> None:
    read_conversation([USER, message], with_only(needs))
    others = ABILITIES - {needs, "images", "audio", "files"}
    for takes in (frozenset[str](), others):
        with pytest.raises(InvalidRequest, match=detail):
            read_conversation([USER, message], with_only(*takes))


@pytest.mark.parametrize("calls", [None, []])
def test_nothing_called_is_nothing_that_must_be_taken(calls: Any) -> None:
    said = {"role": "assistant", "content": "a", "tool_calls": calls}
    assert read_conversation([said], NONE).messages[0].as_dict() == said


FUNCTION = {"type": "function", "function": {"name": "f"}}

DEMANDS = [
    ("tools", [FUNCTION], "tools", "tools must be empty"),
    ("functions", [{"name": "f"}], "tools", "functions must be empty"),
    ("tool_choice", "required", "tools", "tool_choice must be auto or none"),
    ("tool_choice", FUNCTION, "tools", "tool_choice must be auto or none"),
    ("function_call", {"name": "f"}, "tools", "function_call must be auto or none"),
    ("response_format", {"type": "json_object"}, "response_format", "must be text"),
    ("response_format", {"type": []}, "response_format", "response_format must be text"),
    ("response_format", "json", "response_format", "response_format must be text"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "needs", "detail"), DEMANDS)
def test_what_a_backend_does_not_take_of_the_options_is_named(
    name: str, value: Any, needs: str, detail: str
) -> None:
    options = {name: value}
    assert read_options(options, with_only(needs)) == options
    for place in ("", "options."):
        with pytest.raises(InvalidRequest, match=f"^.*{place}{name}") as raised:
            read_options(options, with_only(*ABILITIES - {needs}), place)
        assert detail in raised.value.detail


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "tools": st.sampled_from([None, []]),
            "functions": st.sampled_from([None, []]),
            "tool_choice": st.sampled_from([None, "auto", "none"]),
            "function_call": st.sampled_from([None, "auto", "none"]),
            "response_format": st.sampled_from([None, {"type": "text"}]),
            "temperature": st.floats(0, 2),
            "parallel_tool_calls": st.booleans(),
            "n": st.sampled_from([None, 1]),
        },
    )
)
def test_options_that_ask_for_nothing_are_no_fault(options: dict[str, Any]) -> None:
    assert read_options(options, NONE) == options


@pytest.mark.parametrize(
    ("options", "detail"),
    [
        ({"n": 2}, r"options\.n must be 1"),
        ({"n": "1"}, r"\$\.options\.n"),
        ({"n": True}, r"\$\.options\.n"),
        ({"model": 1}, r"\$\.options\.model"),
        ({"stream_options": 1}, r"\$\.options\.stream_options"),
        ({"stream_options": {"include_usage": 1}}, r"\$\.options\.stream_options\.inc"),
    ],
)
def test_malformed_options_are_named(options: dict[str, Any], detail: str) -> None:
    with pytest.raises(InvalidRequest, match=detail):
        read_options(options, ALL)


def test_the_service_decides_how_it_asks() -> None:
    options = {"stream": True, "messages": [1], "stream_options": {"include_usage": 0}}
    options["stream_options"] = {"include_usage": False}
    assert read_options(options, ALL) == {}
    more = {"stream_options": {"include_obfuscation": False}}
    asked = {"include_obfuscation": False, "include_usage": True}
    assert read_options(more, ALL) == {"stream_options": asked}


@pytest.mark.parametrize(
    ("models", "kept"),
    [([], False), (["n"], False), (["m"], True), (["n", "m"], True), (["*"], True)],
)
def test_a_model_goes_on_if_it_may_be_chosen(models: list[str], kept: bool) -> None:
    limits = request_limits(1000, 0, takes=(), models=models)
    options = {"model": "m", "seed": 1}
    assert read_options(options, limits) == (options if kept else {"seed": 1})


# ---------------------------------------------------------------------- limits


@pytest.mark.parametrize("role", ROLES)
def test_the_limit_counts_the_text_that_people_write(role: str) -> None:
    message = {"role": role, "tool_call_id": "1", "name": "f"}
    half = [{"type": "text", "text": "x" * 500}] * 2
    read_conversation([{**message, "content": half}], ALL)
    longer = {**message, "content": [*half, {"type": "text", "text": "y"}]}
    if role in ("assistant", "tool", "function"):
        read_conversation([longer], ALL)
    else:
        with pytest.raises(TooLarge, match="1000 bytes of UTF-8; this one has 1001"):
            read_conversation([longer], ALL)


def image(size: int) -> dict[str, Any]:
    begin = "data:image/png;base64,"
    url = begin + "A" * (size - len(begin))
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


def test_the_limit_counts_all_files_as_they_are_sent() -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "B" * 297, "format": "wav"}}
    file = {"type": "file", "file": {"file_data": "C" * 700, "filename": "a.pdf"}}
    first = {"role": "user", "content": [image(9000), audio]}
    second = {"role": "user", "content": [file]}
    asked = read_conversation([first, second], ALL)
    assert [message.as_dict() for message in asked.messages] == [first, second]
    with pytest.raises(
        TooLarge, match="10000 bytes as they are sent; these have 10001"
    ):
        file["file"] = {"file_data": "C" * 701}
        read_conversation([first, second], ALL)


def test_a_body_may_have_both_limits_and_no_more() -> None:
    text = {"role": "assistant", "content": "x" * 15_800}
    both = [text, {"role": "user", "content": [image(10_000)]}]
    body = json.dumps({"messages": both})
    assert len(body) < ALL.body == 26_000
    read_prompt(body.encode(), ALL)
    read_frame(body, Caller(), ALL)
    # There is room for it in the body, but only because there is no file.
    text["content"] = "x" * 16_001
    for body in (json.dumps({"messages": [text]}), json.dumps({"messages": both})):
        with pytest.raises(TooLarge, match="16000 bytes beside its files"):
            read_prompt(body.encode(), ALL)
        with pytest.raises(TooLarge, match="16000 bytes beside its files"):
            read_frame(body, Caller(), ALL)


def test_where_no_file_is_taken_there_is_no_room_for_one() -> None:
    assert (
        NONE.body == NONE.text == with_only("tools", "response_format").body == 16_000
    )
    for takes in ("images", "audio", "files"):
        assert with_only(takes).body == 26_000


@pytest.mark.parametrize("many", ["[],", '{"a":1},', "1,", '"",', "[[[[]]]],"])
def test_many_small_values_are_refused_before_they_are_made(many: str) -> None:
    body = '{"messages":[' + many * (25_000 // len(many)) + "1]}"
    for raw in (body, body.encode()):
        if body.count(",") + body.count("[") + body.count("{") > ALL.text:
            with pytest.raises(TooLarge):
                check_structure(raw, ALL)
        else:
            check_structure(raw, ALL)


@given(st.text(alphabet=',[{"a', max_size=60), st.integers(0, 60))
def test_structure_is_counted_exactly(body: str, limit: int) -> None:
    class Limits(RequestLimits, frozen=True):
        @property
        def text(self) -> int:
            return limit

    found = sum(body.count(mark) for mark in ",[{")
    for raw in (body * 200, (body * 200).encode()):
        limits = Limits(1, 0)
        if found * 200 > limit:
            with pytest.raises(TooLarge):
                check_structure(raw, limits)
        else:
            check_structure(raw, limits)


def test_what_can_be_read_can_be_written_again() -> None:
    """Python's stack bounds both: what stands around a request must find room, too."""
    limits = request_limits(100_000, 0, takes=ABILITIES, models=())
    refused = 0
    for depth in range(500, 1100, 20):
        nested = "[" * depth + "]" * depth
        body = f'{{"messages":[{{"role":"user","content":"a","x":{nested}}}]}}'
        try:
            prompt = read_prompt(body.encode(), limits)
        except BadJson as problem:
            assert "nested too deeply" in problem.detail
            refused += 1
        else:
            around: Any = prompt
            for _ in range(150):
                around = [around]
            msgspec.json.encode(around)
            assert not refused
    assert refused


def test_what_is_not_kept_may_be_nested() -> None:
    """An unknown member of a body is passed over, and no value is made of it."""
    limits = request_limits(100_000, 0, takes=ABILITIES, models=())
    body = b'{"message": "a", "x": ' + b"[" * 300 + b"]" * 300 + b"}"
    prompt = read_prompt(body, limits)
    check_body(body, prompt, limits)
    assert prompt.messages == (Message("user", "a"),)


def test_v1_takes_no_text_for_an_empty_one() -> None:
    """Only where OpenAI takes none does none go on."""
    given = [{"role": "user", "content": None}, {"role": "system"}, CALLED]
    given += [{"role": "assistant", "tool_calls": [{"id": "2"}]}]
    body = json.dumps({"messages": given}).encode()
    asked = parse_completion(body, ALL).prompt
    assert [message.as_dict() for message in asked.messages] == [
        {"role": "user", "content": ""},
        {"role": "system", "content": ""},
        *given[2:],
    ]
