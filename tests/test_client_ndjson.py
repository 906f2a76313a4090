"""The transport `ndjson` where it differs from the others: lines, their cuts, their limit."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import aiohttp
import pytest
from aiohttp import web

from chatsvc.client import ndjson
from chatsvc.client.reading import Step
from chatsvc.client.signals import Attached, Broken, Ended, Signal, TextReceived
from chatsvc.client.wire import Question
from tests.scripted_service import running

ID = "AAAAAAAAAAAAAAAAAAAAAA"
TEXT = [
    f'{{"id":"{ID}:1","data":"你"}}\n',
    f'{{"id":"{ID}:2","data":"\\n"}}\n',
    f'{{"id":"{ID}:end","data":"[DONE]"}}\n',
]
WHOLE = [Attached(ID), TextReceived(1, "你"), TextReceived(2, "\n"), Ended("done")]


async def signals_of(
    pieces: Sequence[bytes], kind: str = "application/x-ndjson"
) -> list[Signal]:
    """What the transport reports of a body that comes in such pieces."""

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.headers["Accept"] == "application/x-ndjson"
        assert request.headers["Idempotency-Key"] == "key"
        assert await request.json() == {"message": "hi"}
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        return response

    app = web.Application()
    app.router.add_post("/api/chat", answer)
    async with running(app) as url, aiohttp.ClientSession() as session:
        question = Question(url, {"message": "hi"}, "key")
        step = Step("ndjson", None, 0, 0.0)
        async with aclosing(ndjson.read(session, question, step)) as signals:
            return [signal async for signal in signals]


async def test_each_line_is_a_frame_and_done_is_the_last() -> None:
    body = "".join(TEXT).encode()
    assert await signals_of([body]) == WHOLE
    # Lines of no characters say nothing, and nothing is read behind the last line.
    spaced = body.replace(b"\n", b"\r\n\n") + b"no JSON\n"
    assert await signals_of([spaced]) == WHOLE


async def test_any_cuts_between_pieces_change_nothing() -> None:
    body = "".join(TEXT).encode()
    assert await signals_of([bytes([byte]) for byte in body]) == WHOLE


@pytest.mark.parametrize("end", [0, 30, 45, -1])
async def test_a_body_that_ends_without_its_last_line_was_cut(end: int) -> None:
    signals = await signals_of(["".join(TEXT).encode()[:end]] if end else [])
    assert signals[-1] == Broken("the body ended too early")


async def test_what_can_not_be_read_is_left_for_another_transport() -> None:
    for pieces, kind in (
        ([b"<html>\n"], "application/x-ndjson"),
        ([b"x" * (ndjson.LINE_LIMIT_BYTES + 1)] * 2, "application/x-ndjson"),
        ([json.dumps({"id": f"{ID}:1", "data": "a"}).encode()], "text/html"),
    ):
        (signal,) = await signals_of(pieces, kind)
        assert isinstance(signal, Broken) and signal.switch, signal


async def test_a_resumed_reply_is_asked_for_behind_the_position() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(f"{request.method} {request.path_qs}")
        return web.Response(status=204)

    async def signals() -> AsyncIterator[Signal]:
        async with running(app) as url, aiohttp.ClientSession() as session:
            question = Question(url, {"message": "hi"}, "key")
            step = Step("ndjson", ID, 2, 0.0)
            async for signal in ndjson.read(session, question, step):
                yield signal

    app = web.Application()
    app.router.add_get("/api/chat/{reply}", answer)
    assert len([signal async for signal in signals()]) == 1
    assert asked == [f"GET /api/chat/{ID}?after=2"]
