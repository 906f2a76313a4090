"""The table of attacks: each is one round, which many of its kind repeat until the trial ends.

None of them is a flood: the requests of all attacks together are a few hundred a second, which an
ordinary node serves beside its chats. What is dear is in each of them.
"""

import asyncio
import itertools
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from .model import PACED, SCRIPT, SCRIPTS
from .target import Target, frame, read_for, send
from .texts import DEEP, DIGITS, HOSTILE, MARKDOWN, gzip_bomb, hostile, request

EVENTS, LINES = "Accept: text/event-stream", "Accept: application/x-ndjson"
TEXT, JSON = "Accept: text/plain", "Accept: application/json"
GZIP = "Content-Encoding: gzip"
LONG = 8_000
"""The length of a long header or query in bytes, a little under the parser's limit."""


@dataclass(frozen=True)
class Attack:
    """One kind of attack: `once` is a round of it, with a number that counts the rounds.

    `at_once` rounds run at a time, and each begins `every_s` seconds behind the end of the last.
    """

    once: Callable[[Target, int], Awaitable[object]]
    at_once: int = 1
    every_s: float = 0.5


_bomb = cache(gzip_bomb)


def _turn(number: int, *choices: str) -> str:
    return choices[number % len(choices)]


def _reply(answer: bytes) -> str:
    """Return the reply id in an answer's head. Raises `ConnectionError` when there is none."""
    found = re.search(rb"X-Reply-Id: (\S+)", answer)
    if found is None:
        raise ConnectionError("no reply")
    return found[1].decode()


# ------------------------------------------------------------------------------ texts


def _message(kind: str) -> Attack:
    body = request(hostile(kind))

    async def once(target: Target, number: int) -> None:
        accept = _turn(number, EVENTS, LINES, TEXT, JSON)
        await target.ask("POST /api/chat", accept, body=body, stay=0.2)

    return Attack(once, every_s=1.0)


async def _message_by_v1(target: Target, number: int) -> None:
    text = hostile(_turn(number, *HOSTILE))
    body = json.dumps(
        {"stream": number % 2 == 0, "messages": [{"role": "user", "content": text}]}
    )
    await target.ask("POST /v1/chat/completions", body=body.encode(), stay=0.5)


async def _message_by_ui(target: Target, number: int) -> None:
    parts = [{"type": "text", "text": hostile(_turn(number, *HOSTILE))}]
    body = {"id": f"c{number}", "messages": [{"role": "user", "parts": parts}]}
    await target.ask("POST /api/ui", body=json.dumps(body).encode(), stay=0.5)


async def _poll(target: Target, number: int) -> None:
    body = request(hostile(_turn(number, *HOSTILE)))
    reply = _reply(await target.ask("POST /api/chat?wait=0", JSON, body=body, stay=1))
    for after in range(0, 100, 10):
        await target.ask(f"GET /api/chat/{reply}?after={after}&wait=0", JSON, stay=0.5)


async def _resume(target: Target, number: int) -> None:
    """Read one long reply again and again, from its start and from inside of its characters."""
    text = SCRIPT + _turn(number, *HOSTILE)
    reply = _reply(
        await target.ask("POST /api/chat", EVENTS, body=request(text), stay=0.5)
    )
    for after in (0, 1, 2, 3, 999, 1001):
        accept = _turn(after, EVENTS, LINES, TEXT)
        await target.ask(f"GET /api/chat/{reply}?after={after}", accept, stay=0.2)


def _played(*names: str) -> Attack:
    """Return the attack of a model that plays scripts, one after another, for a user who waits."""

    async def once(target: Target, number: int) -> None:
        body = request(SCRIPT + _turn(number, *names))
        await target.ask("POST /api/chat", EVENTS, body=body, stay=1.5)

    return Attack(once, at_once=2, every_s=0.5)


# ----------------------------------------------------------------------------- bodies


async def _gzip_bomb(target: Target, number: int) -> None:
    where = _turn(
        number,
        *("/api/chat", "/nowhere", "/v1/chat/completions", "/api/ui", "/healthz"),
        f"/api/chat/{'A' * 22}/stop",
    )
    begin = _turn(number // 6, '{"message":"', "")
    body = _bomb(b" ", begin.encode())
    await target.ask(f"POST {where}", GZIP, body=body, stay=0.1)


async def _chunked_bomb(target: Target, number: int) -> None:
    coding = _turn(number, "gzip", "deflate", "br", "zstd")
    where = _turn(number, "/nowhere", "/api/chat", "/", "/metrics")
    headers = (f"Content-Encoding: {coding}", "Content-Type: application/json")
    data = _bomb(b" ")
    async with target.connected() as (reader, writer):
        writer.write(
            target.head(f"POST {where}", *headers, "Transfer-Encoding: chunked")
        )
        pieces = (data[at : at + 65536] for at in range(0, len(data), 65536))
        with suppress(ConnectionError):
            await send(writer, (b"%x\r\n%s\r\n" % (len(p), p) for p in pieces))
        await target.status(reader)


async def _big_body(target: Target, number: int) -> None:
    where = _turn(number, "/nowhere", "/api/chat", "/metrics")
    async with target.connected() as (reader, writer):
        length = "Content-Length: 50000000"
        writer.write(
            target.head(f"POST {where}", length, "Content-Type: application/json")
        )
        with suppress(ConnectionError):
            await send(writer, itertools.repeat(bytes(65536), 700))
        await target.status(reader)


async def _slow_body(target: Target, number: int) -> None:
    where = _turn(number, "/nowhere", "/api/chat", "/metrics")
    async with target.connected() as (reader, writer):
        length = "Content-Length: 50000000"
        writer.write(
            target.head(f"POST {where}", length, "Content-Type: application/json")
        )
        with suppress(ConnectionError):
            await send(writer, itertools.repeat(b"[" * 1000, 100), 0.03)
        await target.status(reader)


def _json_bodies() -> Iterator[bytes]:
    yield DEEP
    yield b'{"message":' + DEEP
    yield b'{"a":' * 40_000
    yield b'{"message":"x","n":' + DIGITS + b"}"
    yield b'{"message":"x","n":1e' + DIGITS + b"}"
    yield b'{"messages":[' + b'{"role":"user","content":""},' * 10_000 + b"]}"
    yield b'{"message":"' + b"\\u0041" * 30_000 + b'"}'
    yield b'{"message":"' + b"\\ud800" * 5_000 + b'"}'
    yield b"{" + b",".join(b'"k%d":1' % i for i in range(20_000)) + b"}"
    yield b'{"max_tokens":' + DIGITS + b',"messages":[{"role":"user","content":"x"}]}'


async def _json(target: Target, number: int) -> None:
    where = _turn(number // 2, "/api/chat", "/v1/chat/completions", "/api/ui")
    body = _BODIES[number % len(_BODIES)]
    await target.ask(f"POST {where}", body=body, stay=0.1)


_BODIES = list(_json_bodies())


# ------------------------------------------------------------------------------ heads


def _heads() -> Iterator[tuple[str, str]]:
    page = "GET /"
    for value in ("a-" * (LONG // 2), "a," * (LONG // 2), "a;q=0.1," * (LONG // 8)):
        yield page, f"Accept-Language: {value}"
        yield page, f"Accept: {value}"
    yield page, f"Accept-Language: en;q=0.{'1' * LONG}"
    yield page, f"Accept: text/html;q=0.{'0' * LONG}"
    yield page, "Accept: " + 'a/b;x="' + "\\" * (LONG - 10)
    yield page, "Cookie: " + "a=b; " * (LONG // 5)
    yield page, "Cookie: " + '="' * (LONG // 2)
    yield page, "Cookie: a=" + '"\\' * (LONG // 2)
    yield page + "?" + "a&" * (LONG // 2 - 50), JSON
    yield page + "?" + "%E4" * (LONG // 3 - 50), JSON
    yield "GET /api/chat/" + "A" * (LONG - 50), EVENTS
    yield "GET /api/chat/" + "A" * 22, "Last-Event-ID: " + "9" * LONG
    yield "GET /api/chat/" + "A" * 22 + "?after=" + "9" * (LONG - 100), JSON
    yield "GET /api/chat/" + "A" * 22 + "?wait=0." + "9" * (LONG - 100), JSON
    yield "GET /api/chat?message=" + "%F0%9F%87%A8" * 600, EVENTS
    yield "GET /nowhere" + "/.." * (LONG // 3 - 50), "Accept: text/html"
    yield page, "X-Forwarded-Host: " + "a," * (LONG // 2)
    yield page, "Origin: http://" + "a." * (LONG // 2 - 20)
    yield page, "\r\n".join(f"X-{i}: y" for i in range(1000))
    yield page, "If-None-Match: " + '"a", ' * (LONG // 5)
    yield page, "Range: bytes=" + "0-1," * (LONG // 4 - 10)


async def _long_head(target: Target, number: int) -> None:
    line, header = _HEADS[number % len(_HEADS)]
    await target.ask(line, header, stay=0.05)


_HEADS = list(_heads())


async def _unfinished_head(target: Target, number: int) -> None:
    """Send 128 KiB of a head that goes on, and wait as long as the node does."""
    async with target.connected() as (reader, writer):
        lines = b"".join(b"X-%d: " % i + b"y" * 8000 + b"\r\n" for i in range(16))
        target.seen["begun"] += 1
        with suppress(ConnectionError):
            await send(writer, [target.head("GET /")[:-2], lines])
        await read_for(reader, 20)


async def _slow_head(target: Target, number: int) -> None:
    async with target.connected() as (_, writer):
        data = target.head("GET /healthz", "X: " + "y" * 1000)
        target.seen["begun"] += 1
        with suppress(ConnectionError):
            await send(writer, (data[at : at + 1] for at in range(200)), 0.1)


# ------------------------------------------------------------------------- rendering


async def _markdown(target: Target, number: int) -> None:
    text = MARKDOWN[_turn(number, *MARKDOWN)]
    body = request(text)
    reply = _reply(await target.ask("POST /api/chat?wait=0", JSON, body=body, stay=1))
    await asyncio.sleep(0.2)
    for _ in range(4):
        await target.ask(f"GET /api/chat/{reply}", "Accept: text/html", stay=0.2)


# ------------------------------------------------------------------------- WebSockets


async def _deaf_socket(target: Target, number: int) -> None:
    """Ask for replies on a WebSocket, more of them than may run at once, and read none."""
    protocol = _turn(number, "chatsvc.v1", "")
    body = frame(request(hostile(_turn(number // 2, *HOSTILE)), key=f"k{number}"))
    async with target.websocket(protocol, receive_buffer=4096) as (_, writer):
        with suppress(ConnectionError):
            await send(writer, [body] * 8, 0.2)
            await asyncio.sleep(2)


async def _socket_frames(target: Target, number: int) -> None:
    """Send frames that RFC 6455 forbids, or that are many."""
    frames = [
        frame(request("hi"), mask=False),
        *(frame(code.to_bytes(2, "big"), 8) for code in (0, 999, 1005, 1006, 5000)),
        *(frame(b"\x03", 8), frame(b"\x03\xe8\xff\xff", 8)),
        frame(b"p" * 125, 9) * 1000,
        frame(b"p" * 126, 9),
        frame(b"{", 1, fin=False) + frame(b"{", 0, fin=False) * 20_000,
        b"\x81\xff" + (1 << 62).to_bytes(8, "big") + bytes(4) + b"x" * 60_000,
        frame(DEEP, 1),
        frame(b'{"message":"x","n":' + DIGITS + b"}", 1),
        frame(b"{}") * 2000,
        frame(b"\xff" * 1000, 1),
        frame(b"\0", 3),
        b"\xf1\x80" + bytes(4),
    ]
    async with target.websocket() as (reader, writer):
        with suppress(ConnectionError):
            await send(writer, [frames[number % len(frames)]])
        await read_for(reader, 0.3)


# ----------------------------------------------------------------- readers that leave


async def _deaf_reader(target: Target, number: int) -> None:
    accept = _turn(number, EVENTS, LINES, TEXT)
    kind = _turn(number, "flags", "hangul", "marked", "endless")
    body = request(SCRIPT + kind)
    async with target.connected(receive_buffer=4096) as (_, writer):
        head = target.head(
            "POST /api/chat",
            *(accept, "Content-Type: application/json"),
            f"Content-Length: {len(body)}",
        )
        await send(writer, [head + body])
        target.seen["begun"] += 1
        await asyncio.sleep(3)


async def _churn(target: Target, number: int) -> None:
    """Connect and leave: with nothing, with half a request, with one that is answered."""
    async with target.connected() as (reader, writer):
        data = target.head("GET /api/chat?message=paced:%20abcdefghij", EVENTS)
        await send(writer, [data[: _STEPS[number % len(_STEPS)]]])
        target.seen["left"] += 1
        if number % 4 == 0:
            await read_for(reader, 0.02)


_STEPS = (0, 40, 10_000, 10_000)


async def _storm(target: Target, number: int) -> None:
    """Start a reply, resume it many times at once, and stop it many times at once."""
    answer = await target.ask(
        "POST /api/chat?wait=0", JSON, body=request(PACED + "abc" * 50), stay=0.3
    )
    path = f"/api/chat/{_reply(answer)}"
    cursor = f"Last-Event-ID: {path[10:]}:0"
    await asyncio.gather(
        *(target.ask(f"GET {path}", EVENTS, cursor, stay=0.3) for _ in range(10)),
        *(target.ask(f"POST {path}/stop", JSON, stay=0.3) for _ in range(10)),
        return_exceptions=True,
    )
    await target.ask(f"GET {path}?after=1", EVENTS, stay=0.2)


async def _same_key(target: Target, number: int) -> None:
    """Post the same long message with the same key many times at once."""
    key = f"Idempotency-Key: {target.address}-{number}"
    body = request(hostile(_turn(number, *HOSTILE)))
    asked = (
        target.ask("POST /api/chat", key, EVENTS, body=body, stay=0.1) for _ in range(5)
    )
    await asyncio.gather(*asked, return_exceptions=True)


ATTACKS: dict[str, Attack] = {
    **{kind: _message(kind) for kind in HOSTILE},
    "v1": Attack(_message_by_v1),
    "ui": Attack(_message_by_ui),
    "poll": Attack(_poll),
    "resume": Attack(_resume, every_s=1.0),
    **{f"model-{kind}": _played(kind, f"{kind}-pieces") for kind in HOSTILE},
    "model-dribble": _played("flags-dribble"),
    "model-comments": _played("comments", "long-comment", "blank-lines"),
    "model-fields": _played("fields", "long-line", "events", "empty-texts"),
    "model-heads": _played("big-head", "refusal", "hangs"),
    "model-no-end": _played("keepalives", "after-done", "only-comments", "endless"),
    "model-json": _played("deep", "digits", "error", "usage"),
    "gzip-bombs": Attack(_gzip_bomb, at_once=2, every_s=1.0),
    "chunked-bombs": Attack(_chunked_bomb, every_s=1.0),
    "big-bodies": Attack(_big_body, every_s=1.0),
    "slow-bodies": Attack(_slow_body, at_once=10),
    "json": Attack(_json, every_s=0.2),
    "long-heads": Attack(_long_head, at_once=2, every_s=0.1),
    "unfinished-heads": Attack(_unfinished_head, at_once=60, every_s=1.0),
    "slow-heads": Attack(_slow_head, at_once=20),
    "markdown": Attack(_markdown, at_once=3),
    "deaf-sockets": Attack(_deaf_socket, at_once=3),
    "socket-frames": Attack(_socket_frames, at_once=2, every_s=0.2),
    "deaf-readers": Attack(_deaf_reader, at_once=10),
    "churn": Attack(_churn, at_once=4, every_s=0.05),
    "storms": Attack(_storm),
    "same-key": Attack(_same_key, every_s=1.0),
}
assert all(f"{kind}-pieces" in SCRIPTS for kind in HOSTILE)
