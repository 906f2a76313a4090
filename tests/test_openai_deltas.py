"""What `/v1` makes of all parts of a reply (PROTOCOL.md section 5), by OpenAI's own accumulator."""

from __future__ import annotations

import asyncio
import copy
import json
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from chatsvc.backends.chunks import ChunkReader
from chatsvc.kept_prompt import keep
from chatsvc.log import Log
from chatsvc.model import (
    Data,
    End,
    Extra,
    File,
    Finish,
    Piece,
    Prompt,
    Reasoning,
    Source,
    ToolCall,
    ToolResult,
)
from chatsvc.replies import PartItem, Reply
from chatsvc.replies.calls import joined_members
from chatsvc.replies.departure import Departure
from chatsvc.stores import Record
from chatsvc.ticker import SLOT_US, Ticker
from chatsvc.transports.completion import WholeCompletion
from chatsvc.transports.deltas import ToolOffer, tool_offer, tools_of
from chatsvc.transports.framing import BARE
from chatsvc.transports.openai import Chunks
from chatsvc.transports.streams import MixedStream, make_stream

from .hand import Hand, hand_of_time, reach
from .parts_script import scripts, written
from .test_joined_events import Wire

TOOLS = [
    *({"type": "function", "function": {"name": name}} for name in "fg"),
    {"type": "custom", "custom": {"name": "c"}},
]
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
DONE = End("done", "stop", usage=USAGE)


def reply_of(log: Log, options: dict[str, Any] | None = None) -> Reply:
    prompt = Prompt((), options={"tools": TOOLS} if options is None else options)
    record = Record(log.reply_id, keep(prompt))
    return Reply(record, log, Ticker(), Departure(), lambda reply: None)


def ended(script: list[Piece], end: End = DONE, options: dict[str, Any] | None = None) -> Reply:  # fmt: skip
    """A reply that has ended, whose backend yielded a script."""
    log = Log("r" * 22)
    for each in written(script):
        if isinstance(each, str):
            log.append(each, 0)
        else:
            log.append_side([each])
    log.finish(end, 0)
    return reply_of(log, options)


def offer_of(reply: Reply) -> ToolOffer:
    """What the reply's request says of tools."""
    return tool_offer(reply.record.prompt.read().options)


def completed(reply: Reply) -> dict[str, Any]:
    """The whole completion that a reply is."""
    whole, log = WholeCompletion(reply, "m", offer_of(reply)), reply.log
    whole.add(PartItem(*each) for each in log.units(0, log.offset))
    return whole.body()


def parsed(events: list[bytes]) -> list[Any]:
    """The chunks of some events, and `[DONE]`."""
    found = b"".join(events).decode().split("\n\n")
    assert found.pop() == ""
    datas = [event.removeprefix("data: ") for event in found]
    return [data if data == "[DONE]" else json.loads(data) for data in datas]


def streamed(reply: Reply, cuts: list[int], *, usage: bool = True) -> list[Any]:
    """The chunks of a reply whose units are read in pieces that end at some offsets."""
    codec, log = Chunks(reply, "m", usage=usage, offer=offer_of(reply)), reply.log
    events, begin = [], 0
    for cut in sorted({*(min(cut, log.offset) for cut in cuts), log.offset}):
        items = [PartItem(*each) for each in log.units(begin, cut)]
        events += codec.part_events(items)
        begin = cut
    assert reply.end is not None
    *chunks, done = parsed([*events, *codec.end(reply.end)])
    assert done == "[DONE]"
    return chunks


def accumulated(chunks: list[Any]) -> Any:
    """What OpenAI's client makes of some chunks, without what is each server's own."""
    state: Any = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(ChatCompletionChunk.construct(**_built(chunk)))
    made = state.current_completion_snapshot.model_dump(mode="json", warnings=False)
    for name in ("id", "created", "object"):
        del made[name]
    for choice in made["choices"]:
        # Servers begin an answer with null or with an empty text.
        choice["message"]["content"] = choice["message"]["content"] or None
    return made


def as_function(call: dict[str, Any]) -> dict[str, Any]:
    """A call, or a piece of one, whose tool stands in `function`, and its type in `kind`.

    OpenAI's accumulator takes no other type.
    """
    made = dict(call)
    if "type" in made:
        made |= {"type": "function", "kind": [call["type"]]}
    if "custom" in made:
        tool = dict(made.pop("custom"))
        if "input" in tool:
            tool["arguments"] = tool.pop("input")
        made["function"] = tool
    return made


def _built(chunk: Any) -> Any:
    chunk = copy.deepcopy(chunk)
    for choice in chunk["choices"]:
        if calls := choice["delta"].get("tool_calls"):
            choice["delta"]["tool_calls"] = [*map(as_function, calls)]
    built = ChatCompletionChunk.model_validate(chunk)
    return {name: getattr(built, name) for name in {*built.model_fields_set}}


# ---------------------------------------------------------------------- models' own streams

texts = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1, max_size=5
)
fragments = st.fixed_dictionaries(
    {},
    optional={
        # Their text alone would be reasoning, too.
        "reasoning_details": st.builds(
            lambda data, index: [
                {"type": "reasoning.encrypted", "data": data, "index": index}
            ],
            texts,
            st.integers(0, 1),
        ),
        "audio": st.fixed_dictionaries({"data": texts, "expires_at": st.integers(0, 9)}),
        "notes": st.lists(texts, max_size=2),
        "number": st.integers(0, 9),
        "words": texts,
    },
)  # fmt: skip
logprobs = st.fixed_dictionaries(
    {
        "content": st.lists(
            st.fixed_dictionaries(
                {
                    "token": texts,
                    "logprob": st.just(-0.5),
                    "bytes": st.none(),
                    "top_logprobs": st.just([]),
                }
            ),
            max_size=2,
        ),
        "refusal": st.none(),
    }
)
call_members = st.fixed_dictionaries(
    {},
    optional={
        "words": texts,
        "notes": st.lists(texts, max_size=2),
        "deep": st.fixed_dictionaries({"words": texts}),
    },
)
"""Members of a call, or of its function, that nobody knows."""
COMMON = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "real",
    "system_fingerprint": "fp",
    "service_tier": "default",
}


@st.composite
def model_streams(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The chunks of an answer, as servers of models send them."""
    states = draw(st.fixed_dictionaries({}, optional={"content_filter_results": st.just({"a": 1})}))  # fmt: skip
    top = draw(st.fixed_dictionaries({}, optional={"citations": st.just(["u"])}))
    begin = {"index": 0, "delta": {"role": "assistant", "content": ""}, **states}
    chunks: list[dict[str, Any]] = [{**COMMON, **top, "choices": [begin]}]
    kinds: list[str] = []  # the types of the calls
    for _ in range(draw(st.integers(1, 8))):
        delta: dict[str, Any] = draw(fragments)
        for name in draw(
            st.sets(st.sampled_from(["content", "reasoning_content", "tool_calls"]))
        ):
            if name != "tool_calls":
                delta[name] = draw(texts)
                continue
            pieces = []
            for _ in range(draw(st.integers(1, 2))):
                index = draw(st.integers(0, len(kinds)))
                begins = index == len(kinds)
                if begins:
                    kinds.append(draw(st.sampled_from(["function", "custom"])))
                kind = kinds[index]
                text_name, names = (
                    ("input", "c") if kind == "custom" else ("arguments", "fg")
                )
                tool: dict[str, Any] = draw(call_members)
                tool[text_name] = draw(st.just("") | texts)
                piece: dict[str, Any] = {
                    "index": index,
                    **draw(call_members),
                    kind: tool,
                }
                if begins:
                    piece |= {"id": f"call_{index}", "type": kind}
                    tool["name"] = draw(st.sampled_from(names))
                    tool["once"] = draw(st.integers(0, 9))
                    if draw(st.booleans()):
                        piece["extra_content"] = {"s": "x"}
                pieces.append(piece)
            delta["tool_calls"] = pieces
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        if draw(st.booleans()):
            choice["logprobs"] = draw(logprobs)
        chunks.append({**COMMON, **top, "choices": [choice]})
    chunks[1]["choices"][0]["delta"].setdefault("content", "a")
    reason = "tool_calls" if kinds else draw(st.sampled_from(["stop", "length"]))
    finish = {"index": 0, "delta": {}, "finish_reason": reason}
    chunks.append({**COMMON, "choices": [finish]})
    usage = {**USAGE, "completion_tokens_details": {"reasoning_tokens": 1}}
    chunks.append({**COMMON, "choices": [], "usage": usage})
    return chunks


def relayed(chunks: list[dict[str, Any]]) -> Reply:
    """The reply that a model's stream becomes."""
    reader = ChunkReader()
    pieces: list[Piece] = []
    for chunk in chunks:
        pieces += reader.feed(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    pieces += reader.feed(b"data: [DONE]\n\n")
    assert reader.finish is not None and reader.failure is None
    end = End("done", reader.finish.reason, usage=reader.finish.usage)
    return ended([*pieces, Finish(reader.finish.reason)], end)


@given(model_streams(), st.lists(st.integers(0, 60), max_size=5))
def test_a_stream_adds_up_to_what_the_models_own_adds_up_to(
    chunks: list[dict[str, Any]], cuts: list[int]
) -> None:
    assert accumulated(streamed_in_loop(chunks, cuts)) == accumulated(chunks)


def streamed_in_loop(chunks: list[dict[str, Any]], cuts: list[int]) -> list[Any]:
    async def run() -> list[Any]:
        return streamed(relayed(chunks), cuts)

    return asyncio.run(run())


@given(model_streams())
def test_the_whole_form_says_what_the_stream_says(chunks: list[dict[str, Any]]) -> None:
    async def both() -> Any:
        reply = relayed(chunks)
        return completed(reply), streamed(reply, [])

    whole, parts = asyncio.run(both())
    made = accumulated(parts)
    [choice], [other] = whole["choices"], made["choices"]
    message, second = choice["message"], other["message"]
    assert choice["finish_reason"] == other["finish_reason"]
    assert choice["logprobs"] == other["logprobs"]
    for name in ("model", "system_fingerprint", "service_tier", "citations"):
        assert whole.get(name) == made.get(name)
    for name in ("content", "reasoning_content", "words", "notes"):
        assert (message.get(name) or None) == (second.get(name) or None)
    if "audio" in message:
        assert message["audio"]["data"] == second["audio"]["data"]
    calls = [dict(call) for call in second["tool_calls"] or ()]
    for call in calls:
        del call["index"], call["function"]["parsed_arguments"]
    assert [*map(as_function, message.get("tool_calls", []))] == calls


# ---------------------------------------------------------------------- functions' parts


async def said(*script: Piece, options: dict[str, Any] | None = None) -> tuple[list[Any], Any]:  # fmt: skip
    """The deltas of a reply's chunks but the first and the last, and the message of its whole form."""
    reply = ended([*script, Finish()], options=options)
    chunks = streamed(reply, [*range(40)], usage=False)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0].keys() == {"role", "content"} and deltas[-1] == {}
    return deltas[1:-1], completed(reply)["choices"][0]["message"]


CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}  # fmt: skip


async def test_a_call_of_the_requests_tool_grows_as_it_is_written() -> None:
    deltas, message = await said(
        ToolCall("1", "f"), ToolCall("1", "", '{"a":'), ToolCall("1", "", "1}")
    )
    begun = {**CALL, "index": 0, "function": {"name": "f", "arguments": ""}}
    assert deltas[0] == {"tool_calls": [begun]}
    more = [delta["tool_calls"][0] for delta in deltas[1:]]
    assert "".join(each["function"]["arguments"] for each in more) == '{"a":1}'
    assert all(each.keys() == {"index", "function"} for each in more)
    assert message == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [CALL],
    }


async def test_a_request_of_the_older_interface_gets_its_calls() -> None:
    options = {"functions": [{"name": "f"}]}
    call = [ToolCall("1", "f"), ToolCall("1", "", '{"a":'), ToolCall("1", "", "1}")]
    deltas, message = await said(*call, options=options)
    assert deltas[0] == {"function_call": {"name": "f", "arguments": ""}}
    assert all(delta["function_call"].keys() == {"arguments"} for delta in deltas[1:])
    assert message["function_call"] == CALL["function"]
    assert message["content"] is None and "tool_calls" not in message
    reply = ended([*call, Finish()], End("done", "tool_calls"), options)
    assert streamed(reply, [], usage=False)[-1]["choices"][0]["finish_reason"] == "function_call"  # fmt: skip
    assert completed(reply)["choices"][0]["finish_reason"] == "function_call"


async def test_a_call_of_a_custom_tool_and_members_that_nobody_knows() -> None:
    script = [
        ToolCall("1", "c", "", type="custom", more={"a": "x", "custom": {"b": [1]}}),
        ToolCall("1", "", "SELECT"),
        ToolCall("1", more={"a": "y", "custom": {"b": [2]}}),
    ]
    deltas, message = await said(*script)
    assert [delta["tool_calls"] for delta in deltas] == [
        [
            {
                "index": 0,
                "id": "1",
                "type": "custom",
                "a": "x",
                "custom": {"b": [1], "name": "c", "input": ""},
            }
        ],
        *([{"index": 0, "custom": {"input": char}}] for char in "SELECT"),
        [{"index": 0, "a": "y", "custom": {"b": [2], "input": ""}}],
    ]
    whole = {
        "id": "1",
        "type": "custom",
        "a": "xy",
        "custom": {"b": [1, 2], "name": "c", "input": "SELECT"},
    }
    assert message["tool_calls"] == [whole]
    # A tool that the request did not offer waits for the end.
    deltas, message = await said(*script, options={})
    assert [delta["tool_calls"] for delta in deltas] == [[{"index": 0, **whole}]]
    assert message["tool_calls"] == [whole]
    assert tools_of({"tools": TOOLS}) == {"f", "g", "c"}


async def test_a_function_call_of_the_older_interface_keeps_its_members() -> None:
    options = {"functions": [{"name": "f"}]}
    call = ToolCall("1", "f", "{}", more={"function": {"x": 1}, "y": 2})
    _, message = await said(call, options=options)
    assert message["function_call"] == {"x": 1, "name": "f", "arguments": "{}"}


async def test_metadata_is_extra_content_also_if_it_comes_late() -> None:
    deltas, message = await said(
        ToolCall("1", "f", "", {"s": 1}), ToolCall("1", "", "{}", {"t": 2})
    )
    assert deltas[0]["tool_calls"][0]["extra_content"] == {"s": 1}
    last = {"index": 0, "function": {"arguments": ""}, "extra_content": {"t": 2}}
    assert deltas[-1] == {"tool_calls": [last]}
    assert message["tool_calls"][0]["extra_content"] == {"s": 1, "t": 2}


@pytest.mark.parametrize("options", [{}, {"tools": 7}, {"tools": [7, {"type": "x"}]}])
async def test_a_call_that_the_request_did_not_offer_waits_for_its_result(
    options: dict[str, Any],
) -> None:
    call = ToolCall("1", "f", '{"a":1}')
    answered = (call, ToolResult("1", {"n": 1}), "done")
    assert await said(*answered, options=options) == (
        [{"content": char} for char in "done"],
        {"role": "assistant", "content": "done", "refusal": None},
    )
    deltas, message = await said(call, "text", ToolCall("2", "g"), options=options)
    assert [delta["content"] for delta in deltas[:4]] == list("text")
    assert [delta["tool_calls"][0]["index"] for delta in deltas[4:]] == [0, 1]
    assert deltas[4] == {"tool_calls": [{"index": 0, **CALL}]}
    assert message["tool_calls"][0] == CALL


async def test_a_call_that_a_stop_cut_is_nobodys() -> None:
    log = Log("r" * 22)
    units = [each for each in written([ToolCall("1", "h", "{")]) if not isinstance(each, str)]  # fmt: skip
    log.append_side(units)
    log.finish(End("stopped", "stopped"), 0)
    chunks = streamed(reply_of(log), [])
    assert [chunk["choices"][0]["delta"] for chunk in chunks[:-1]] == [
        {"role": "assistant", "content": ""},
        {},
    ]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"


def test_tools_of_either_interface() -> None:
    options = {"tools": [*TOOLS, {"type": "custom", "name": "h"}, {"function": 1}]}
    assert tools_of(options) == {"f", "g", "c", "h"}
    assert tools_of({"functions": [{"name": "i"}, {"name": 7}]}) == {"i"}
    assert tools_of({"tools": None}) == frozenset()


async def test_sources_and_files_of_a_function() -> None:
    deltas, message = await said(
        "ab",
        Source("https://a.example/", "A", 0, 2),
        Source("https://b.example/"),
        File("image/png", "https://a.example/x.png"),
        File("application/pdf", "data:,x", "x.pdf"),
        File("application/pdf", "https://a.example/x.pdf"),
        "c",
    )

    def citation(index: int, *told: Any) -> dict[str, Any]:
        names = ("url", "title", "start_index", "end_index")
        cited = dict(zip(names, told, strict=True))
        return {"index": index, "type": "url_citation", "url_citation": cited}

    first = citation(0, "https://a.example/", "A", 0, 2)
    second = citation(1, "https://b.example/", "https://b.example/", 0, 0)
    url = {"url": "https://a.example/x.png"}
    image = {"index": 0, "type": "image_url", "image_url": url}
    pdf = {"filename": "x.pdf", "file_data": "data:,x"}
    remote = {"filename": "", "file_url": "https://a.example/x.pdf"}
    files = [
        {"index": 2, "type": "file", "file": pdf},
        {"index": 3, "type": "file", "file": remote},
    ]
    assert deltas[2:-1] == [
        {"annotations": [first]},
        {"annotations": [second]},
        {"images": [image]},
        *({"annotations": [each]} for each in files),
    ]
    assert message["annotations"] == [first, second, *files]
    assert message["images"] == [image]
    assert message["content"] == "abc"
    # Each list adds up by OpenAI's accumulator.
    reply = ended(["ab", Source("https://a.example/"), "c", Source("https://b.example/")])  # fmt: skip
    made = accumulated(streamed(reply, [*range(9)]))["choices"][0]["message"]
    assert [each["index"] for each in made["annotations"]] == [0, 1]


async def test_what_came_as_an_extra_is_not_made_again() -> None:
    source, file = Source("https://a.example/"), File("image/png", "data:,x")
    extra = {"annotations": [{"a": 1}], "images": [{"b": 2}]}
    deltas, message = await said("ab", source, file, Extra(extra), "c")
    assert deltas[2:-1] == [extra]
    assert message["annotations"] == [{"a": 1}]
    deltas, _ = await said("ab", source, file, Extra({"images": [1]}), "c")
    assert [set(delta) for delta in deltas[2:-1]] == [{"annotations", "images"}]


async def test_signatures_have_the_text_that_they_are_for() -> None:
    deltas, message = await said(
        Reasoning("a"), Reasoning("b", "s1"), Reasoning(signature="s2"), "c"
    )
    details = [
        {"index": 0, "type": "reasoning.text", "text": "ab", "signature": "s1"},
        {"index": 1, "type": "reasoning.text", "text": "", "signature": "s2"},
    ]
    assert deltas == [
        {"reasoning_content": "a"},
        {"reasoning_content": "b"},
        *({"reasoning_details": [each]} for each in details),
        {"content": "c"},
    ]
    assert message["reasoning_content"] == "ab"
    assert message["reasoning_details"] == details


async def test_a_refusal_is_one() -> None:
    deltas, message = await said(Extra({"refusal": ""}), "No", ".")
    assert "".join(delta["refusal"] for delta in deltas) == "No."
    assert (message["content"], message["refusal"]) == (None, "No.")


async def test_data_have_no_place() -> None:
    assert await said("a", Data("n", 1)) == (
        [{"content": "a"}],
        {"role": "assistant", "content": "a", "refusal": None},
    )


async def test_a_content_of_parts_keeps_those_that_are_no_text() -> None:
    parts = [{"type": "reference", "reference_ids": [1]}]
    deltas, message = await said("a", Extra({"content": parts}), "b")
    assert [delta["content"] for delta in deltas] == ["a", parts, "b"]
    assert message["content"] == [{"type": "text", "text": "ab"}, *parts]


async def test_extras_stand_where_they_came_from_and_hide_nothing() -> None:
    hostile = {
        name: "x"
        for name in (
            *("id", "object", "choices", "usage", "index", "delta", "role"),
            *("finish_reason", "message", "content", "tool_calls", "error"),
        )
    }
    script: tuple[Piece, ...] = (
        Extra({"a": 1, "model": "real"}, "chunk"),
        Extra({"b": 2}, "choice"),
        "hi",
        *(Extra(hostile, at) for at in ("chunk", "choice", None)),
        Extra({"logprobs": {"content": [1]}}, "choice"),
        Extra({"logprobs": {"content": [2]}, "token_ids": [3]}, "choice"),
        Extra({"c": [4]}),
        Extra({"c": [5]}),
        Extra({"a": 2}, "chunk"),
    )
    reply = ended([*script, Finish()])
    chunks = streamed(reply, [], usage=False)
    assert all(chunk["id"].startswith("chatcmpl-") for chunk in chunks)
    assert {chunk["model"] for chunk in chunks} == {"real"}
    assert [chunk["a"] for chunk in chunks if "a" in chunk] == [1, 2]
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [choice["delta"].get("role") for choice in choices[:2]] == ["assistant", None]  # fmt: skip
    assert [choice["b"] for choice in choices if "b" in choice] == [2]
    assert [c["logprobs"] for c in choices if "logprobs" in c] == [
        {"content": [1]},
        {"content": [2]},
    ]
    assert [c["delta"]["c"] for c in choices if "c" in c["delta"]] == [[4], [5]]
    whole = completed(reply)
    assert (whole["model"], whole["a"]) == ("real", 2)
    [choice] = whole["choices"]
    assert choice["b"] == 2
    assert choice["logprobs"] == {"content": [1, 2]}
    assert choice["token_ids"] == [3]
    assert choice["message"]["c"] == [4, 5]
    assert choice["message"]["content"] == "hi"


async def test_what_came_of_two_chunks_is_not_made_one() -> None:
    chunk_extra, choice_extra = Extra({"a": 1}, "chunk"), Extra({"b": 2}, "choice")
    fragment = Extra({"c": 3})
    reply = ended(["x", chunk_extra, choice_extra, fragment, choice_extra, chunk_extra])
    names = ("a", "b", "c", "content")
    found = []
    for chunk in streamed(reply, [], usage=False)[1:-1]:
        [choice] = chunk["choices"]
        members = {*chunk, *choice, *choice["delta"]}
        found.append([name for name in names if name in members])
    assert found == [["content"], ["b"], ["c"]]  # the first chunk has the first "a"


def test_what_pieces_of_a_member_add_up_to() -> None:
    audio = {"id": "x", "data": "ab", "expires_at": 5}
    assert joined_members(
        [
            {"audio": {"id": "x", "data": "a"}, "n": 1, "e": None, "z": None},
            {"audio": {"id": "x", "data": "b", "expires_at": 5}, "n": 2, "e": "f"},
            {"audio": None, "n": "three", "z": None},
        ]
    ) == {"audio": audio, "n": "three", "e": "f", "z": None}


async def test_an_empty_reply_and_one_that_failed() -> None:
    chunks = streamed(ended([]), [], usage=False)
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {},
    ]
    assert completed(ended([]))["choices"][0]["message"]["content"] == ""
    [error] = streamed(ended([], End("failed", "error")), [])
    assert error["error"]["type"] == "server_error"


# ---------------------------------------------------------------------- the stream


@given(
    scripts,
    st.lists(st.integers(0, 30_000), min_size=14, max_size=14),
    st.sampled_from([0, 1_000, 100_000]),
)
def test_however_it_arrives_all_is_there_once(
    script: list[Piece], pauses: list[int], pace: int
) -> None:
    async def run(hand: Hand) -> tuple[str, list[Any], Any]:
        log, wire = Log("r" * 22, pace=pace), Wire()
        reply = reply_of(log)
        codec = Chunks(reply, "m", offer=offer_of(reply))
        stream = make_stream(reply, 0, wire, codec, BARE)
        assert isinstance(stream, MixedStream)
        with closing(stream):
            running = asyncio.create_task(stream.run())
            for number, each in enumerate(written(script)):
                if isinstance(each, str):
                    log.append(each, hand.now)
                else:
                    log.append_side([each])
                await reach(reply.ticker, hand, hand.now + pauses[number % 14])
            while hand.now < log.due() + SLOT_US:
                await reach(reply.ticker, hand, hand.now + max(SLOT_US, pace))
            log.finish(DONE, hand.now)
            await asyncio.wait_for(running, 10)
            rest = [] if stream.rest is None else codec.events(*stream.rest)
        chunks = parsed([*wire.writes, *rest, *codec.end(DONE)])[:-1]
        return log.text(0), chunks, completed(reply)

    with hand_of_time() as hand:
        text, chunks, whole = asyncio.run(run(hand))
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [c["delta"].get("role") for c in choices].count("assistant") == 1
    assert choices[0]["delta"]["role"] == "assistant"
    deltas = [choice["delta"] for choice in choices]
    assert "".join(delta.get("content") or "" for delta in deltas) == text
    message = whole["choices"][0]["message"]
    reasoning = "".join(delta.get("reasoning_content", "") for delta in deltas)
    assert reasoning == message.get("reasoning_content", "")
    calls: dict[int, str] = {}
    for delta in deltas:
        for call in delta.get("tool_calls", ()):
            arguments = call.get("function", {}).get("arguments", "")
            calls[call["index"]] = calls.get(call["index"], "") + arguments
    expected = message.get("tool_calls", [])
    assert [*calls.values()] == [call["function"]["arguments"] for call in expected]
    for name in ("annotations", "images"):
        entries = [each for delta in deltas for each in delta.get(name, ())]
        assert entries == message.get(name, [])
