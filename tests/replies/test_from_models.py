"""Replies of a scripted model server: their units, ends and limits, from its bytes on."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chatsvc.backends.chunks import WHOLE_LIMIT_BYTES
from chatsvc.backends.openai import OpenAIBackend
from chatsvc.model import End
from chatsvc.replies.reply import Reply
from chatsvc.units import Close, Mark, PartText, Unit
from tests.backends.test_chunk_pieces import IMAGE, PICTURE, call, calls, delta, event
from tests.scripted_upstream import DONE, HANG, Part, Upstream, chunk, head

from .serving import WAIT, asking, read_all, serving

MIB = 1 << 20
STOP = chunk(None, finish_reason="stop")
CALLED = chunk(None, finish_reason="tool_calls")


@asynccontextmanager
async def replying(*scripts: Iterable[Part], max_event: int = WHOLE_LIMIT_BYTES, **options: Any) -> Any:  # fmt: skip
    """Yield a reply of a server that plays some scripts, and the server."""
    upstream = Upstream(*scripts)
    async with upstream.running() as url:
        backend = OpenAIBackend(url, first_backoff=0.0, max_event=max_event)
        async with serving(backend, **options) as replies:
            yield await replies.start(asking()), replies, upstream
        await backend.close()


def units(reply: Reply) -> list[Unit]:
    return [unit for _, unit in reply.log.units(0, reply.log.offset)]


async def ended(reply: Reply) -> End:
    await read_all(reply)
    assert reply.end is not None
    return reply.end


async def outcome(*parts: Part, **options: Any) -> tuple[list[Unit], End]:
    """Return the units and the end of a reply to what a server sends."""
    async with replying([head(), *parts], **options) as (reply, _, _):
        end = await ended(reply)
        return units(reply), end


async def test_reasoning_text_and_a_call() -> None:
    body = (
        delta({"role": "assistant", "reasoning_content": "Let me"}),
        delta({"reasoning_content": " see."}),
        delta({"content": "你"}),
        delta({"content": "好"}),
        calls(call(0, "call_1", name="search", arguments="")),
        calls(call(0, arguments='{"q"')),
        calls(call(0, arguments=':"x"}')),
        CALLED,
        event({"choices": [], "usage": {"total_tokens": 9}}),
        DONE,
    )
    assert await outcome(*body) == (
        [
            Mark(1, "reasoning"),
            PartText(1, "Let me see."),
            Close(1),
            PartText(0, "你好"),
            Mark(2, "tool_call", {"id": "call_1", "name": "search"}),
            PartText(2, '{"q":"x"}'),
            Close(2),
        ],
        End("done", "tool_calls", usage={"total_tokens": 9}),
    )


@pytest.mark.parametrize(
    "ways",
    [
        [call(0, "a", name="f", arguments="{"), call(0, arguments="}")],
        [call(0, "a", name="f", arguments="{"), call(0, "a", arguments="}")],
        [call(None, "a", arguments="{"), call(None, "a", name="f", arguments="}")],
        [call(0, "a", arguments="{"), call(0, name="f"), call(0, arguments="}")],
        [call(None, "a", name="f", arguments="{"), call(None, arguments="}")],
        [call(0, "a", name="f", arguments="{"), call(0, "", name="", arguments="}")],
        [call(None, "a", name="f", arguments="{}")],
    ],
)
async def test_a_call_is_one_however_it_comes(ways: list[Any]) -> None:
    got, end = await outcome(*map(calls, ways), CALLED, DONE)
    assert got == [
        Mark(1, "tool_call", {"id": "a", "name": "f"}),
        PartText(1, "{}"),
        Close(1),
    ]
    assert end.finish_reason == "tool_calls"


async def test_a_signature_and_calls_without_ids() -> None:
    signed = {**call(name="f", arguments="{}"), "extra_content": {"google": {"s": "x"}}}
    got, _ = await outcome(calls(signed, call(name="f", arguments="[]")), CALLED, DONE)
    first, second = (u for u in got if isinstance(u, Mark))
    assert first.members["metadata"] == {"google": {"s": "x"}}
    assert first.members["id"].startswith("call_") and len(first.members["id"]) == 21
    assert first.members["id"] != second.members["id"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (calls(call(0, "a", arguments="{}")) + CALLED, "without a name"),
        (calls(call(0, "a", name="f")) + CALLED + DONE, ""),
    ],
)
async def test_a_call_that_never_has_a_name_is_a_failure(
    body: bytes, words: str
) -> None:
    _, end = await outcome(body, DONE)
    assert end.state == ("failed" if words else "done")
    assert words in (end.problem or {}).get("detail", "")


async def test_files_and_extras() -> None:
    got, _ = await outcome(
        event({"model": "m", "choices": []}), delta({"images": [PICTURE]}), STOP, DONE
    )
    assert got == [
        Mark(1, "extra", {"value": {"model": "m"}, "at": "chunk"}, whole=True),
        Mark(2, "file", {"media_type": "image/png", "url": IMAGE}, whole=True),
        Mark(3, "extra", {"value": {"images": [PICTURE]}}, whole=True),
    ]


async def test_what_comes_before_an_answer_is_no_reason_not_to_ask_again() -> None:
    early = event({"model": "m", "choices": [], "usage": {"n": 0}})
    first = [head(), early + delta({"role": "assistant", "content": ""}, seed=1)]
    async with replying(first, [head(), early + chunk("a") + STOP, DONE]) as (
        reply,
        _,
        upstream,
    ):
        end = await ended(reply)
        assert (len(upstream.requests), end) == (2, End("done", "stop", usage={"n": 0}))
        extra = Mark(1, "extra", {"value": {"model": "m"}, "at": "chunk"}, whole=True)
        assert units(reply) == [extra, PartText(0, "a")]


async def test_nothing_is_asked_again_behind_reasoning() -> None:
    async with replying([head(), delta({"reasoning": "hm"})]) as (reply, _, upstream):
        end = await ended(reply)
        assert (len(upstream.requests), end.state) == (1, "failed")
        assert units(reply) == [Mark(1, "reasoning"), PartText(1, "hm")]


@pytest.mark.parametrize(
    "counted",
    [
        event({"choices": [{"delta": {"content": "b"}}], "usage": {"n": 2}}),
        STOP + event({"choices": [], "usage": {"n": 2}}),
        event({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"n": 2}}),
    ],
)
async def test_usage_is_kept_when_the_reply_is_stopped(counted: bytes) -> None:
    script = [head(), chunk("a") + counted, HANG]
    async with replying(script) as (reply, replies, _):
        async with asyncio.timeout(WAIT):
            while reply.log.usage is None:
                await asyncio.sleep(0.001)
        await replies.stop(reply)
        assert reply.end == End("stopped", "stopped", usage={"n": 2})


async def test_usage_is_kept_when_the_reply_is_abandoned_cut_or_fails() -> None:
    counted = event({"choices": [{"delta": {"content": "ab"}}], "usage": {"n": 2}})
    _, end = await outcome(chunk("c") + counted, counted, HANG, max_reply=3)
    assert end == End("done", "length", usage={"n": 2})
    _, end = await outcome(counted)  # and then it breaks off
    assert (end.state, end.usage) == ("failed", {"n": 2})
    async with replying([head(), counted, HANG], grace=0.05) as (reply, _, _):
        async with asyncio.timeout(WAIT):
            while reply.end is None:
                await asyncio.sleep(0.01)
        assert reply.end == End("stopped", "abandoned", usage={"n": 2})


# ------------------------------------------------------------------ limits


@pytest.mark.parametrize(
    "count",
    [
        3000,
        pytest.param(20_000, marks=pytest.mark.thorough),
    ],
)
async def test_as_many_marks_as_there_is_room_for(count: int) -> None:
    def script() -> Iterable[Part]:
        yield head()
        for begin in range(0, count, 100):
            yield b"".join(
                delta({"annotations": [{"n": n}]}) for n in range(begin, begin + 100)
            )
        yield STOP + DONE

    async with replying(script(), max_parts=64 * MIB) as (reply, _, _):
        end = await asyncio.wait_for(ended_late(reply), 250)
        assert (end, reply.log.offset) == (End("done", "stop"), count)


async def ended_late(reply: Reply) -> End:
    """The end of a reply that takes long, and whose reader takes nothing."""
    with reply.reading():  # else it is abandoned on a slow machine
        while reply.end is None:
            await asyncio.sleep(0.01)
    return reply.end


async def test_marks_without_room_end_the_reply() -> None:
    script = itertools.chain(
        [head()], (delta({"annotations": [n]}) for n in itertools.count())
    )
    async with replying(script, max_parts=64 * 1024) as (reply, _, upstream):
        end = await asyncio.wait_for(ended_late(reply), WAIT)
        assert end == End("done", "length")
        assert 100 < reply.log.offset < 1000
        await asyncio.wait_for(upstream.left.wait(), WAIT)


@pytest.mark.parametrize("named", [True, False])
async def test_arguments_that_never_end(named: bool) -> None:
    first = calls(call(0, "c", **({"name": "f"} if named else {"arguments": ""})))
    script = itertools.chain(
        [head(), first], itertools.repeat(calls(call(0, arguments="x" * 500)))
    )
    async with replying(script, max_parts=64 * 1024) as (reply, _, upstream):
        end = await asyncio.wait_for(ended_late(reply), WAIT)
        assert end == End("done", "length")
        assert (60_000 if named else 0) <= reply.log.offset <= 64 * 1024
        await asyncio.wait_for(upstream.left.wait(), WAIT)


async def test_64_calls_side_by_side() -> None:
    begun = (calls(call(n, f"c{n}", name="f", arguments="[")) for n in range(64))
    grown = (
        calls(*(call(n, arguments=f"{n},") for n in reversed(range(64))))
        for _ in range(50)
    )
    ends = calls(*(call(n, arguments="0]") for n in range(64)))
    got, end = await outcome(*begun, *grown, ends, CALLED, DONE)
    assert end.finish_reason == "tool_calls"
    texts: dict[int, str] = {}
    for unit in got:
        if isinstance(unit, PartText):
            texts[unit.part] = texts.get(unit.part, "") + unit.text
    assert [json.loads(texts[n + 1]) for n in range(64)] == [
        [n] * 50 + [0] for n in range(64)
    ]
    assert sum(isinstance(unit, Close) for unit in got) == 64


@pytest.mark.parametrize(
    ("max_parts", "reason"), [(16 * MIB, "stop"), (4 * MIB, "length")]
)
async def test_an_image_of_4_mib(max_parts: int, reason: str) -> None:
    url = "data:image/png;base64," + "A" * (4 * MIB)
    picture = {"type": "image_url", "image_url": {"url": url}}
    body = chunk("a") + delta({"images": [picture]}) + chunk("b") + STOP
    limits = {"max_parts": max_parts, "max_event": MIB + max_parts}
    got, end = await outcome(body, DONE, **limits)
    assert end.finish_reason == reason
    if reason == "length":
        assert got == [PartText(0, "a")]
        return
    assert [unit.kind for unit in got if isinstance(unit, Mark)] == ["file", "extra"]
    assert isinstance(got[1], Mark) and got[1].members["url"] == url
    assert got[-1] == PartText(0, "b")


@pytest.mark.parametrize(("max_parts", "reason"), [(MIB, "stop"), (1 << 17, "length")])
async def test_256_kib_of_reasoning(max_parts: int, reason: str) -> None:
    thought = "好" * 64
    count = (1 << 18) // len(thought.encode())
    script = [delta({"reasoning": thought})] * count
    got, end = await outcome(*script, chunk("Hi"), STOP, DONE, max_parts=max_parts)
    assert end.finish_reason == reason
    assert isinstance(got[1], PartText)
    text = "".join(u.text for u in got if isinstance(u, PartText) and u.part == 1)
    whole = thought * count
    assert text == whole if reason == "stop" else whole.startswith(text)
    assert len(text.encode()) > max_parts - 100 or reason == "stop"
