"""What servers say beside their text, in each of their ways: bytes in, pieces out, at any cut."""

from __future__ import annotations

import itertools
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import DecodeError

from chatsvc.backends.answer_pieces import AnswerPieces
from chatsvc.backends.chunk_conversion import convert, loads
from chatsvc.backends.chunk_values import Chunk, decode, decode_loosely
from chatsvc.backends.chunks import ChunkReader
from chatsvc.backends.cumulative import Cumulative
from chatsvc.graphemes import Splitter
from chatsvc.model import (
    Extra,
    File,
    Finish,
    Piece,
    Reasoning,
    Source,
    ToolCall,
    Usage,
)
from chatsvc.replies.part_writer import PartWriter
from chatsvc.units import joined
from tests.scripted_upstream import DONE, chunk

STOP = chunk(None, finish_reason="stop")


def encode(value: object) -> bytes:
    """Return JSON that is not escaped; it has no lone surrogates."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def event(value: object) -> bytes:
    """Return the event of a chunk."""
    return b"data: " + encode(value) + b"\n\n"


def delta(value: object, **members: object) -> bytes:
    """Return the event of a chunk with a delta; `members` are further ones of its choice."""
    return event({"choices": [{"index": 0, "delta": value, **members}]})


def read(*parts: bytes, **options: Any) -> list[Piece]:
    """Return the pieces of a body that comes in parts; texts that follow each other are one."""
    reader = ChunkReader(**options)
    pieces: list[Piece] = []
    for part in parts:
        if reader.complete or reader.failure is not None:
            break
        pieces += fed(reader, part)
    if not reader.complete and reader.failure is None:
        pieces += reader.end()
    pieces += reader.rest()
    assert reader.failure is None, reader.failure.detail
    return merged(pieces)


def fed(reader: ChunkReader, data: bytes) -> list[Piece]:
    """Return what the next bytes complete, as `Answer` asks for it: the quick way first."""
    text = reader.next_text(data)
    return reader.feed(data) if text is None else [text]


def merged(pieces: list[Piece]) -> list[Piece]:
    """Return pieces in which texts, and reasoning, that follow each other are one."""
    found: list[Piece] = []
    for piece in pieces:
        last = found[-1] if found else None
        if isinstance(piece, str) and isinstance(last, str):
            found[-1] = last + piece
        elif (
            isinstance(piece, Reasoning)
            and isinstance(last, Reasoning)
            and piece.signature is None
            and last.signature is None
        ):
            found[-1] = Reasoning(last.text + piece.text)
        else:
            found.append(piece)
    return found


def call(index: int | None = None, id: str | None = None, **function: str) -> Any:
    """Return one of a delta's `tool_calls`."""
    made: dict[str, Any] = {"type": "function", "function": function}
    if index is not None:
        made["index"] = index
    if id is not None:
        made["id"] = id
    return made


def calls(*made: Any) -> bytes:
    return delta({"tool_calls": list(made)})


def detail(text: str, **more: str) -> dict[str, str]:
    return {"type": "reasoning.text", "text": text, **more}


URL = "https://example.org/a"
IMAGE = "data:image/png;base64,AAAA"
CITATION = {
    "type": "url_citation",
    "url_citation": {"url": URL, "title": "A", "start_index": 1, "end_index": 3},
}
PICTURE = {"type": "image_url", "image_url": {"url": IMAGE}}

CASES: dict[str, tuple[bytes, list[Piece]]] = {
    "reasoning_content, then text": (
        delta({"role": "assistant", "reasoning_content": "Let"})
        + delta({"reasoning_content": " me"})
        + delta({"content": "Hi"}),
        [Reasoning("Let me"), "Hi"],
    ),
    "reasoning": (
        delta({"reasoning": "hm"}) + delta({"content": "Hi"}),
        [Reasoning("hm"), "Hi"],
    ),
    "both, with the same text": (
        delta({"reasoning": "hm", "reasoning_content": "hm"}) * 2,
        [Reasoning("hmhm")],
    ),
    "one of both is empty": (
        delta({"reasoning": "h", "reasoning_content": ""})
        + delta({"reasoning": None, "reasoning_content": "m"}),
        [Reasoning("hm")],
    ),
    "reasoning_details beside reasoning": (
        delta({"reasoning": "hm", "reasoning_details": [detail("hm")]}),
        [Reasoning("hm"), Extra({"reasoning_details": [detail("hm")]})],
    ),
    "reasoning_details alone": (
        delta({"reasoning": None, "reasoning_details": [detail("h")]})
        + delta({"reasoning_details": [{"type": "reasoning.summary", "summary": "m"}]}),
        [
            Reasoning("h"),
            Extra({"reasoning_details": [detail("h")]}),
            Reasoning("m"),
            Extra(
                {"reasoning_details": [{"type": "reasoning.summary", "summary": "m"}]}
            ),
        ],
    ),
    "reasoning_details that repeat the reasoning later": (
        delta({"reasoning": "hm"})
        + delta({"reasoning_details": [detail("hm", signature="s")]}),
        [
            Reasoning("hm"),
            Extra({"reasoning_details": [detail("hm", signature="s")]}),
        ],
    ),
    "encrypted reasoning_details": (
        delta({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}),
        [Extra({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]})],
    ),
    "all in one chunk": (
        delta(
            {
                "tool_calls": [call(0, "c", name="f", arguments="{}")],
                "annotations": [CITATION],
                "content": "Hi",
                "reasoning": "hm",
                "images": [PICTURE],
            },
            logprobs={"content": []},
        ),
        [
            Reasoning("hm"),
            "Hi",
            ToolCall("c", "f", "{}", index=0),
            Source(URL, "A", 1, 3),
            File("image/png", IMAGE),
            Extra({"annotations": [CITATION], "images": [PICTURE]}),
            Extra({"logprobs": {"content": []}}, "choice"),
        ],
    ),
    "a list of parts": (
        delta(
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "Hi"},
                ]
            }
        ),
        [Reasoning("hm"), "Hi"],
    ),
    "a list of parts, in its own order, with a signature": (
        delta(
            {
                "content": [
                    {"type": "text", "text": "Hi"},
                    {"type": "thinking", "thinking": "h", "signature": "s"},
                    {"type": "reasoning", "text": "m"},
                    "!",
                ]
            }
        ),
        ["Hi", Reasoning("h", "s"), Reasoning("m"), "!"],
    ),
    "parts that are neither text nor reasoning": (
        delta({"content": [{"type": "text", "text": "Hi"}, PICTURE]}),
        ["Hi", File("image/png", IMAGE), Extra({"content": [PICTURE]})],
    ),
    "parts of types that nobody knows": (
        delta(
            {
                "content": [
                    {"type": "text", "text": "Hi"},
                    {"type": "tool_reference", "tool": "web_search", "title": "A"},
                    {"type": "next", "text": "!"},
                ]
            }
        ),
        [
            "Hi!",
            Extra(
                {
                    "content": [
                        {"type": "tool_reference", "tool": "web_search", "title": "A"}
                    ]
                }
            ),
        ],
    ),
    "Gemini's thoughts": (
        delta({"content": "hm", "extra_content": {"google": {"thought": True}}})
        + delta({"content": "Hi"}),
        [
            Reasoning("hm"),
            Extra({"extra_content": {"google": {"thought": True}}}),
            "Hi",
        ],
    ),
    "a refusal": (
        delta({"content": None, "refusal": "I"}) + delta({"refusal": " won't"}),
        [Extra({"refusal": ""}), "I won't"],
    ),
    "a call in pieces": (
        calls(call(0, "c", name="f", arguments=""))
        + calls(call(0, arguments='{"q"'))
        + calls(call(0, arguments=":1}")),
        [
            ToolCall("c", "f", index=0),
            ToolCall("", "", '{"q"', index=0),
            ToolCall("", "", ":1}", index=0),
        ],
    ),
    "whole calls without an index, with a signature": (
        calls(
            {
                **call(None, "c", name="f", arguments="{}"),
                "extra_content": {"google": {"thought_signature": "s"}},
            },
            call(None, "d", name="f", arguments="{}"),
        ),
        [
            ToolCall("c", "f", "{}", {"google": {"thought_signature": "s"}}),
            ToolCall("d", "f", "{}"),
        ],
    ),
    "arguments that are JSON itself, an id that is a number": (
        calls({"index": "0", "id": 7, "function": {"name": "f", "arguments": {"q": 1}}})
        + calls({"index": 1, "id": 8, "function": {"name": "g", "arguments": [1.5]}}),
        [ToolCall("7", "f", '{"q": 1}'), ToolCall("8", "g", "[1.5]", index=1)],
    ),
    "a call of a custom tool, and members that nobody knows": (
        calls(
            {
                "index": 0,
                "id": "c",
                "type": "custom",
                "custom": {"name": "f", "input": ""},
            }
        )
        + calls({"index": 0, "custom": {"input": "a", "x": "1"}, "status": "busy"})
        + calls(
            {
                "index": 1,
                "id": "d",
                "type": "mcp",
                "n": 1,
                "nothing": None,
                "function": {"name": "g", "arguments": "{}", "y": [1.5]},
            }
        )
        + delta({"function_call": {"name": "h", "z": True}}),
        [
            ToolCall("c", "f", index=0, type="custom"),
            ToolCall(
                "", "", "a", None, 0, "custom", {"status": "busy", "custom": {"x": "1"}}
            ),
            ToolCall(
                "d", "g", "{}", None, 1, "mcp", {"n": 1, "function": {"y": [1.5]}}
            ),
            ToolCall("", "h", index=-1, more={"function": {"z": True}}),
        ],
    ),
    "what is no call": (
        calls(5, {"function": 5}) + delta({"content": "Hi"}),
        [ToolCall(), "Hi"],
    ),
    "the call of older interfaces": (
        delta({"function_call": {"name": "f", "arguments": ""}})
        + delta({"function_call": {"arguments": "{"}})
        + delta({"function_call": {"arguments": "{"}}),
        [
            ToolCall("", "f", index=-1),
            ToolCall("", "", "{", index=-1),
            ToolCall("", "", "{", index=-1),
        ],
    ),
    "citations with line ends": (
        delta({"content": "a\r"})
        + delta({"content": "\nb"})
        + delta(
            {
                "annotations": [
                    {**CITATION["url_citation"], "type": "url_citation"},  # type: ignore[dict-item]
                    {"type": "url_citation", "url_citation": {"url": "javascript:1"}},
                    {"type": "file_citation", "file_citation": {}},
                ]
            }
        ),
        [
            "a\r\nb",
            Source(URL, "A", 1, 2),
            Extra(
                {
                    "annotations": [
                        {**CITATION["url_citation"], "type": "url_citation"},  # type: ignore[dict-item]
                        {
                            "type": "url_citation",
                            "url_citation": {"url": "javascript:1"},
                        },
                        {"type": "file_citation", "file_citation": {}},
                    ]
                }
            ),
        ],
    ),
    "images that are no data, and one again": (
        delta({"images": [{"type": "image_url", "image_url": URL + ".jpg?x"}]})
        + delta({"images": [{"image_url": {"url": "http://example.org/"}}]})
        + delta({"images": [{"type": "image_url", "image_url": URL + ".jpg?x"}, 5]}),
        [
            File("image/jpeg", URL + ".jpg?x"),
            Extra({"images": [{"type": "image_url", "image_url": URL + ".jpg?x"}]}),
            Extra({"images": [{"image_url": {"url": "http://example.org/"}}]}),
            Extra({"images": [{"type": "image_url", "image_url": URL + ".jpg?x"}, 5]}),
        ],
    ),
    "extras of a chunk, a choice and a delta": (
        event(
            {
                "id": "1",
                "object": "chat.completion.chunk",
                "created": 5,
                "model": "m",
                "citations": [URL],
                "obfuscation": "xyz",
                "choices": [
                    {
                        "index": 0,
                        "delta": {"role": "assistant", "content": "Hi", "audio": {}},
                        "logprobs": None,
                        "seed": 5,
                    }
                ],
            }
        ),
        [
            Extra({"seed": 5}, "choice"),
            Extra({"model": "m", "citations": [URL]}, "chunk"),
            "Hi",
            Extra({"audio": {}}),
        ],
    ),
    "extras before anything of the answer": (
        event({"model": "m", "choices": []})
        + delta({"role": "assistant", "content": ""}, seed=1)
        + delta({"content": "Hi"}),
        [Extra({"seed": 1}, "choice"), Extra({"model": "m"}, "chunk"), "Hi"],
    ),
    "extras that are the same": (
        event({"model": "m", "choices": [{"delta": {"content": "H"}}]})
        + event({"model": "m", "choices": [{"delta": {"content": "i"}}]}),
        [Extra({"model": "m"}, "chunk"), "Hi"],
    ),
    "fragments that are the same": (
        delta({"content": "!", "reasoning_details": []}, logprobs={"content": [1]}) * 2,
        [
            "!",
            Extra({"reasoning_details": []}),
            Extra({"logprobs": {"content": [1]}}, "choice"),
        ]
        * 2,
    ),
    "a message that repeats what its deltas said": (
        event(
            {"choices": [{"delta": {"content": "H", "audio": {"data": "x"}, "n": 1}}]}
        )
        + event({"choices": [{"message": {"audio": {"data": "x"}, "sources": [2]}}]}),
        ["H", Extra({"audio": {"data": "x"}, "n": 1}), Extra({"sources": [2]})],
    ),
    "usage in every chunk": (
        event({"choices": [{"delta": {"content": "H"}}], "usage": {"n": 1}})
        + event({"choices": [{"delta": {"content": "i"}}], "usage": {"n": 2}}),
        ["H", Usage({"n": 1}), "i", Usage({"n": 2})],
    ),
    "a whole message": (
        event(
            {
                "choices": [
                    {
                        "message": {
                            "content": "Hi",
                            "reasoning": "hm",
                            "tool_calls": [call(None, "c", name="f", arguments="{}")],
                        }
                    }
                ]
            }
        ),
        [Reasoning("hm"), "Hi", ToolCall("c", "f", "{}")],
    ),
    "a whole message beside the last delta": (
        delta({"reasoning": "hm"})
        + delta({"content": "Hi"}, message={"content": "Hi", "reasoning": "hm"}),
        [Reasoning("hm"), "Hi"],
    ),
    "another choice": (
        event({"choices": [{"index": 1, "delta": {"reasoning": "no"}, "seed": 1}]})
        + delta({"content": "Hi"}),
        ["Hi"],
    ),
}
"""The body of each way, and its pieces when each event comes by itself."""


def events(body: bytes) -> list[bytes]:
    return [part + b"\n\n" for part in body.split(b"\n\n") if part]


@pytest.mark.parametrize("way", CASES)
def test_a_way(way: str) -> None:
    body, pieces = CASES[way]
    assert read(*events(body + STOP + DONE)) == pieces
    single = [(body + STOP + DONE)[i : i + 1] for i in range(len(body + STOP + DONE))]
    assert read(*single) == pieces


@pytest.mark.parametrize("way", CASES)
def test_a_way_as_whole_json(way: str) -> None:
    """Servers that ignore `stream` answer with one object, whose deltas are a message."""
    body, pieces = CASES[way]
    if len(events(body)) > 1 or "message" in way:
        return
    value = json.loads(body[6:])
    for choice in value["choices"]:
        choice["message"] = choice.pop("delta")
    assert read(json.dumps(value).encode()) == pieces


THOUGHT = [Reasoning("hm"), "Hi"]


@pytest.mark.parametrize(
    ("body", "pieces"),
    [
        (chunk("<think>hm</think>\n\nHi"), THOUGHT),
        (chunk("hm</thi") + chunk("nk>\nHi"), THOUGHT),
        (chunk("Hi"), ["Hi"]),
        (chunk("<think>hm"), [Reasoning("hm")]),
        # What is known to be reasoning ends the search.
        (delta({"reasoning": "hm"}) + chunk("Hi</think>"), [Reasoning("hm"), "Hi</think>"]),
        (
            chunk("a") + calls(call(0, "c", name="f")) + chunk("b</think>"),
            ["a", ToolCall("c", "f", index=0), "b</think>"],
        ),
        (
            delta({"content": "hm"}, seed=1) + chunk("</think>Hi"),
            [Extra({"seed": 1}, "choice"), Reasoning("hm"), "Hi"],
        ),
        (chunk("<think>\ud83d") + chunk("\ude00</think>a"), [Reasoning("😀"), "a"]),
        (
            chunk("<think>hm</think> Hi")
            + delta(
                {
                    "annotations": [
                        {
                            "type": "url_citation",
                            "url": URL,
                            "start_index": 18,
                            "end_index": 20,
                        }
                    ]
                }
            ),
            [Reasoning("hm"), "Hi", Source(URL, None, 0, 2)],
        ),
    ],
)  # fmt: skip
def test_think_tags(body: bytes, pieces: list[Piece]) -> None:
    for parts in (events(body), [body], [body[i : i + 1] for i in range(len(body))]):
        got = read(*parts, STOP, think_tags=True)
        kept = [
            p for p in got if not isinstance(p, Extra) or "annotations" not in p.value
        ]
        assert kept == pieces


def test_without_the_setting_tags_are_text() -> None:
    assert read(chunk("<think>hm</think>Hi"), STOP) == ["<think>hm</think>Hi"]


def test_what_is_undecided_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatsvc.backends.chunks.UNDECIDED_LIMIT_BYTES", 1000)
    reader = ChunkReader(think_tags=True)
    assert reader.feed(chunk("a" * 900)) == []
    assert reader.feed(chunk("b" * 900)) == ["a" * 900 + "b" * 900]
    assert reader.feed(chunk("c</think>")) == ["c</think>"]


def test_cumulative_reasoning_and_calls() -> None:
    body = (
        delta({"reasoning_content": "h"})
        + delta({"reasoning_content": "hm"})
        + delta({"reasoning_content": "hm", "content": "H"})
        + delta(
            {"content": "Hi", "tool_calls": [call(0, "c", name="f", arguments="{")]}
        )
        + delta(
            {"content": "Hi", "tool_calls": [call(0, "c", name="f", arguments="{}")]}
        )
    )
    assert read(*events(body), STOP, cumulative=True) == [
        Reasoning("hm"),
        "Hi",
        ToolCall("c", "f", "{", index=0),
        ToolCall("c", "f", "}", index=0),
    ]


def test_another_text_that_is_not_cumulative_is_all_new() -> None:
    texts = Cumulative()
    assert [texts.new("a", text) for text in ("x", "y", "xyz")] == ["x", "y", "z"]


def test_usage_before_the_finish_and_behind_it() -> None:
    early = event({"choices": [], "usage": {"n": 1}})
    reader = ChunkReader()
    assert reader.feed(early) == []
    assert reader.feed(chunk("a")) == ["a", Usage({"n": 1})]
    assert reader.feed(STOP) == []
    # More may be waited for, and the reply stopped meanwhile.
    assert reader.feed(event({"choices": [], "usage": {"n": 2}})) == [Usage({"n": 2})]
    assert reader.finish == Finish("stop", {"n": 2})
    assert reader.feed(event({"choices": [], "usage": {"n": 3}}) + DONE) == []
    assert reader.finish == Finish("stop", {"n": 3})


def test_what_a_log_can_not_hold_is_no_extra() -> None:
    deep = "[" * 200 + "]" * 200
    body = b'data: {"deep":%b,"big":%b,"nan":NaN,"choices":[{"delta":{"content":"a"}}]}\n\n'
    pieces = read(body % (deep.encode(), b"9" * 30), STOP)
    assert pieces == [Extra({"big": 1e30}, "chunk"), "a"]
    assert read(body % (b"1", b"9" * 200), STOP)[0] == Extra(
        {"deep": 1, "big": 1e200}, "chunk"
    )


def test_a_call_by_itself_finishes_with_its_reason() -> None:
    reader = ChunkReader()
    reader.feed(calls(call(0, "c", name="f", arguments="{}")))
    reader.feed(chunk(None, finish_reason="tool_calls"))
    assert reader.finish == Finish("tool_calls")


# ------------------------------------------------------------------ laws

words = st.text(st.characters(exclude_categories=()), max_size=6)
texts = st.one_of(words, st.none())
values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | words,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2)
    ),
    max_leaves=4,
)
tool_calls = st.lists(
    st.fixed_dictionaries(
        {"function": st.fixed_dictionaries({}, optional={"name": texts, "arguments": texts, "x": values})},
        optional={
            "id": texts,
            "index": st.integers(0, 2),
            "extra_content": values,
            "type": st.sampled_from(["function", "custom", "mcp", None]),
            "custom": st.fixed_dictionaries({}, optional={"name": texts, "input": texts, "x": values}),
            "status": values,
        },
    ),
    max_size=2,
)  # fmt: skip
deltas = st.fixed_dictionaries(
    {},
    optional={
        "content": texts,
        "reasoning": texts,
        "reasoning_content": texts,
        "refusal": texts,
        "role": texts,
        "tool_calls": tool_calls,
        "reasoning_details": st.lists(values, max_size=2),
        "annotations": st.lists(st.just(CITATION), max_size=2),
        "audio": values,
    },
)
choices = st.fixed_dictionaries(
    {"delta": deltas},
    optional={
        "index": st.sampled_from([0, 1, None]),
        "logprobs": values,
        "seed": values,
        "message": deltas,
        "finish_reason": st.sampled_from([None, "stop", "length"]),
    },
)
chunks = st.fixed_dictionaries(
    {"choices": st.lists(choices, min_size=1, max_size=2)},
    optional={
        "usage": st.dictionaries(words, st.integers(0, 9), max_size=1),
        "model": words,
        "x_groq": values,
        "citations": values,
        "created": st.integers(0, 2),
    },
)


def added(made: Chunk) -> object:
    """Return what a chunk adds to an answer."""
    answer = AnswerPieces()
    failure = answer.add(made)
    return failure, answer.reason, answer.progress, answer.usage, answer.take()


@given(chunks)
def test_each_way_to_decode_makes_the_same(value: dict[str, Any]) -> None:
    data = encode(value)
    exact = added(convert(loads(data.decode())))
    names = set(str(value).split("'"))
    if {"status", "x"} & names:
        # Further members of a call are for `convert` alone.
        for other in (decode, decode_loosely):
            with suppress(DecodeError):
                assert added(other(data)) == exact
        return
    assert added(decode_loosely(data)) == exact
    if not {"citations", "seed", "audio", "annotations"} & names:
        assert added(decode(data)) == exact


def log_of(pieces: list[Piece]) -> list[object]:
    """Return the units of a reply whose backend yields some pieces, without the ids made here."""
    splitter = Splitter()
    writer = PartWriter(splitter, 1 << 22)
    found: list[Any] = []
    for piece in pieces:
        if isinstance(piece, str):
            if writer.interrupted:
                found += writer.begin_text(piece)
            found.append(splitter.feed(piece))
        else:
            found += writer.feed(piece)
    found += writer.close()
    text = "".join(each for each in found if isinstance(each, str))
    sides = joined(each for each in found if not isinstance(each, str))
    return [text, *sides]


@given(st.lists(chunks, max_size=5), st.lists(st.integers(0, 900), max_size=5))
def test_the_cuts_change_nothing(scripts: list[Any], cuts: list[int]) -> None:
    for script in scripts:
        for choice in script["choices"]:
            for part in (choice["delta"], choice.get("message", {})):
                part.pop("tool_calls", None)  # their ids may be made here, at random
    body = b"".join(map(event, scripts)) + DONE
    edges = sorted({0, *(cut for cut in cuts if cut < len(body)), len(body)})
    parts = [body[a:b] for a, b in itertools.pairwise(edges)]
    assert log_of(read(*parts)) == log_of(read(body))


@given(st.lists(deltas, max_size=6), st.booleans())
def test_the_text_is_that_of_the_texts(
    script: list[dict[str, Any]], cumulative: bool
) -> None:
    """What stands beside the text changes nothing about it."""
    whole, all_of_it, text_alone = "", b"", b""
    for each in script:
        each.pop("refusal", None)
        if cumulative and each.get("content"):
            whole += each["content"]
            each["content"] = whole
        all_of_it += delta(each)
        text_alone += delta({"content": each.get("content")})
    options = {"cumulative": cumulative}
    assert text_of(all_of_it, **options) == text_of(text_alone, **options)


def text_of(body: bytes, **options: Any) -> str:
    pieces = read(body + STOP, **options)
    return "".join(piece for piece in pieces if isinstance(piece, str))
