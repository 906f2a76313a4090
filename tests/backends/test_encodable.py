"""Whatever a backend says of its end, the end can be encoded, and decoded again."""

import enum
import json
import math
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.backends.chunks import ChunkReader
from chatsvc.backends.encodable import encodable_text, encodable_usage
from chatsvc.backends.errors import ServerError, error_words
from chatsvc.backends.function import FunctionBackend
from chatsvc.model import End, Finish, Message, Prompt
from chatsvc.problems import BackendFailed, Problem
from tests.backends.asking import asked
from tests.scripted_upstream import DONE, Upstream, chunk, head

characters = st.characters(exclude_categories=())  # with the surrogates
texts = st.text(characters, max_size=5)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**63), 2**64, 10**400])
    | st.floats()
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
    ),
    max_leaves=20,
)
members = st.sampled_from(
    [
        "choices",
        "usage",
        "error",
        "message",
        "detail",
        "index",
        "delta",
        "content",
        "finish_reason",
        "text",
        "refusal",
    ]
)
objects = st.dictionaries(members | texts, values, max_size=5)
choices = st.fixed_dictionaries(
    {},
    optional={
        "delta": st.dictionaries(members, values, max_size=3) | values,
        "index": st.sampled_from([0, None, 1]) | values,
        "finish_reason": st.sampled_from(["stop", "length", "error"]) | values,
    },
)
chunks = objects | st.fixed_dictionaries(
    {"choices": st.lists(choices, max_size=2)},
    optional={"usage": objects | values, "error": values},
)


def check_encodes(end: End) -> None:
    encoded = msgspec.json.encode(end)
    assert msgspec.json.decode(encoded, type=End) == end


def reader_end(data: bytes) -> End | None:
    """Return the end of a reply whose only event is `data`."""
    reader = ChunkReader()
    try:
        text = "".join(reader.feed(data)) + reader.rest()
    except ServerError as error:
        return End("failed", "error", BackendFailed(error.words).as_dict())
    except BackendFailed as error:
        return End("failed", "error", error.as_dict())
    text.encode()
    if reader.finish is None:
        return None
    return End("done", reader.finish.reason, usage=reader.finish.usage)


@given(chunks | values, st.sampled_from(["message", "error"]))
def test_any_json_as_an_event(value: Any, kind: str) -> None:
    event = f"event: {kind}\ndata: {json.dumps(value)}\n\n".encode()
    for data in (event, event + DONE):
        if (end := reader_end(data)) is not None:
            check_encodes(end)


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda b: b.decode("latin-1")))
def test_anything_as_an_event(text: str) -> None:
    for kind in ("message", "error"):
        data = f"event: {kind}\ndata: {text}\n\ndata: [DONE]\n\n".encode()
        if (end := reader_end(data)) is not None:
            check_encodes(end)


@given(values)
def test_the_words_of_any_error(value: Any) -> None:
    error_words(value).encode()


@given(values | st.dictionaries(texts, values, max_size=3))
def test_any_usage(value: Any) -> None:
    check_encodes(End("done", "stop", usage=encodable_usage(value)))


def test_an_ordinary_usage_stays_as_it_is() -> None:
    usage = {
        "prompt_tokens": 3,
        "completion_tokens": 5,
        "total_tokens": 8,
        "cost": 0.25,
        "free": False,
        "prompt_tokens_details": {"cached_tokens": 1, "audio": None, "kinds": ["é"]},
    }
    copy = encodable_usage(usage)
    assert copy == usage and copy is not usage


class Color(enum.StrEnum):
    RED = "r"


class Shout(str):
    __slots__ = ()

    def __str__(self) -> str:
        return self.upper()


class Level(enum.IntEnum):
    HIGH = 3


def test_what_json_does_not_have() -> None:
    usage = encodable_usage(
        {
            "object": object(),
            "bytes": b"x",
            "nan": math.nan,
            "infinite": -math.inf,
            "huge": 2**63,
            "tuple": (1, "\ud800"),
            "enum": Color.RED,
            "level": Level.HIGH,
            "\udfff": Shout("a\ud83d\ude00"),
            1: 2,
            None: 3,
        }
    )
    assert usage == {
        "object": None,
        "bytes": None,
        "nan": None,
        "infinite": None,
        "huge": None,
        "tuple": [1, "\ufffd"],
        "enum": "r",
        "level": 3,
        "\ufffd": "a😀",
    }
    check_encodes(End("done", "stop", usage=usage))


def nested(depth: int) -> dict[str, Any]:
    usage: dict[str, Any] = {}
    for _ in range(depth):
        usage = {"a": usage}
    return usage


@pytest.mark.parametrize(
    "usage",
    [
        nested(100),
        nested(100_000),
        {"a": [0] * 10_000},
        {"a": "x" * 10_000},
        {"x" * 10_000: 1},
        {str(i): i for i in range(10_000)},
        [],
        "usage",
        None,
    ],
    ids=lambda usage: repr(type(usage)) if usage is None or not usage else "",
)
def test_too_big_a_usage_is_none(usage: Any) -> None:
    assert encodable_usage(usage) is None


def test_a_usage_that_holds_itself_is_none() -> None:
    usage: dict[str, Any] = {}
    usage["usage"] = usage
    assert encodable_usage(usage) is None


def test_text_of_other_classes() -> None:
    assert encodable_text(Shout("a\ud800")) == "a\ufffd"
    assert type(encodable_text(Color.RED)) is str
    assert encodable_text(5) == "5"


# ------------------------------------------------------------------ on the way


@pytest.mark.parametrize(
    ("script", "detail"),
    [
        ([head(), b'data: {"error": "a\\ud800b"}\n\n'], "a\ufffdb"),
        ([head(), b'event: error\ndata: {"message": "\\udfff"}\n\n'], "\ufffd"),
        (
            [head("400 X"), b'{"error": {"message": "\\ud83d\\ude00 \\ud83d"}}'],
            "The model's server refused with 400: 😀 \ufffd",
        ),
    ],
)
async def test_an_upstreams_words(script: list[bytes], detail: str) -> None:
    assert await asked(Upstream(script)) == ("", None, detail)


async def test_an_upstreams_usage() -> None:
    usage = b'{"\\ud800": "\\udfff", "n": NaN, "i": -Infinity, "big": 1' + b"0" * 99
    script = [
        head(),
        chunk("a"),
        chunk(None, finish_reason="\ud800"),
        b'data: {"choices": [], "usage": ' + usage + b"}}\n\n",
        DONE,
    ]
    _, finish, _ = await asked(Upstream(script))
    expected = {"\ufffd": "\ufffd", "n": None, "i": None, "big": None}
    assert finish == Finish("stop", expected)


async def function_end(function: Any) -> tuple[str, End]:
    text, end = "", End("done", "stop")
    stream = FunctionBackend(function).stream(Prompt((Message("user", "a"),)))
    try:
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                if isinstance(piece, Finish):
                    end = End("done", piece.reason, usage=piece.usage)
                else:
                    assert type(piece) is str
                    text += piece
    except Problem as problem:
        end = End("failed", "error", problem.as_dict())
    return text, end


@pytest.mark.parametrize(
    "finish",
    [
        Finish("\ud800"),
        Finish(Color.RED),
        Finish(5),  # type: ignore[arg-type]
        Finish(None),  # type: ignore[arg-type]
        Finish("stop", {"a": object()}),
        Finish("stop", nested(5000)),
        Finish("stop", {"\ud800": {1: "\ud800"}}),
        Finish("stop", object()),  # type: ignore[arg-type]
    ],
)
async def test_a_functions_finish(finish: Finish) -> None:
    async def function(messages: object) -> AsyncIterator[str | Finish]:
        yield Shout("a")
        yield Color.RED
        yield finish

    text, end = await function_end(function)
    assert text == "ar"
    check_encodes(end)


@pytest.mark.parametrize("detail", ["\ud800", Color.RED, 5, object(), b"x"])
@pytest.mark.parametrize("begun", [False, True])
async def test_a_functions_failure(detail: Any, begun: bool) -> None:
    async def function(messages: object) -> AsyncIterator[str]:
        if begun:
            yield "a"
        raise BackendFailed(detail)

    def at_once(messages: object) -> None:
        raise BackendFailed(detail)

    for called in (function, at_once):
        _, end = await function_end(called)
        assert end.state == "failed"
        check_encodes(end)
