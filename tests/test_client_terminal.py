"""What a model or a server sends is shown on a terminal and not obeyed; a pipe gets it as it is."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.client.terminal import OBEYED, print_line, visible, write_text
from tests.loopback import listening
from tests.scripted_service import Service, running

TITLE = "\x1b]0;owned\x07"
CLEAR = "\x1b[2J"
C1 = "\x9b31m"
BIDI = "\u202egnp.exe"
EVIL = f"a{TITLE}b{CLEAR}c{C1}d{BIDI}e\rf\x08g\x7fh\u2028i\x00j"
"""A new title, a cleared screen, colour, text that reads backwards, an overwritten line."""
SHOWN = r"a\x1b]0;owned\x07b\x1b[2Jc\x9b31md\u202egnp.exee\x0df\x08g\x7fh\u2028i\x00j"
HARMLESS = "héllo\t你好 👨‍👩‍👧 e\u0301\n\u200fשלום\u200e \xa0\xad\ufffd"

CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


@given(st.text(st.characters(exclude_categories=()), max_size=50))
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    shown = visible(text)
    assert not CONTROLS.search(shown)
    assert OBEYED.sub("", text) == text or shown != text
    pieces = CONTROLS.split(text)
    assert all(piece in shown for piece in pieces)
    if not CONTROLS.search(text):
        assert shown == text


def test_it_is_shown_as_escapes() -> None:
    assert visible(EVIL) == SHOWN
    assert visible(HARMLESS) == HARMLESS
    assert visible("\ud800\udc9b") == r"\ud800\udc9b"


class Terminal(io.TextIOWrapper):
    """A stream that says whether it is a terminal."""

    def __init__(self, terminal: bool, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="")
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def written(self) -> bytes:
        self.seek(0)
        return bytes(self.buffer.read())


@given(st.text(st.characters(codec="utf-8")))
def test_a_pipe_gets_every_byte(text: str) -> None:
    stream = Terminal(terminal=False)
    write_text(stream, text)
    assert stream.written() == text.encode()
    stream = Terminal(terminal=False)
    print_line(stream, text)
    assert stream.written() == f"{text}\n".encode()


def test_what_the_encoding_lacks_is_an_escape() -> None:
    for terminal in (True, False):
        stream = Terminal(terminal, "ascii")
        print_line(stream, "你\udc9b")
        assert stream.written() == b"\\u4f60\\udc9b\n"


HASTY = """
import sys
from functools import partial
from chatsvc.cli import main
from chatsvc.client import reading
reading.Backoff = partial(reading.Backoff, first=0.001, longest=0.002)
sys.exit(main())
"""
"""The command, which waits for nothing between two tries."""


def run_on_terminal(*words: str) -> tuple[int, bytes]:
    """Run `chatsvc` with a terminal for stdout and stderr; give its status and what came there."""
    master, slave = os.openpty()
    mode = termios.tcgetattr(slave)
    mode[1] &= ~termios.OPOST  # else each line feed gets a carriage return
    termios.tcsetattr(slave, termios.TCSANOW, mode)
    command = [sys.executable, "-c", HASTY, *words]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave
    ) as child:
        os.close(slave)
        output = b""
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:  # on Linux, the end of a terminal
                break
            if not data:
                break
            output += data
    os.close(master)
    return child.returncode, output


def run_in_pipe(*words: str) -> tuple[int, bytes, bytes]:
    """Run `chatsvc` with pipes; give its status, stdout and stderr."""
    command = [sys.executable, "-m", "chatsvc", *words]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def assert_harmless(output: bytes) -> str:
    """Return what came on a terminal, which must hold nothing that is obeyed."""
    text = output.decode()
    assert not CONTROLS.search(text), text
    return text


class EvilService(Service):
    """A service whose model and problems hold what a terminal obeys."""

    def problem(self) -> dict[str, object]:
        return {
            "type": f"/problems/{TITLE}",
            "title": f"title {TITLE}{BIDI}",
            "status": 502,
            "detail": f"detail {CLEAR}{C1}",
        }


TRANSPORTS = ["sse", "ndjson", "websocket", "text", "poll"]


@pytest.mark.sampled
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_reply_is_shown_on_a_terminal_and_exact_in_a_pipe(
    transport: str,
) -> None:
    text = f"{EVIL.replace(chr(13), '')}{HARMLESS}"
    async with running(Service(text).app()) as url:
        words = ["ask", "--url", str(url), "--transport", transport, "hi"]
        status, output = await asyncio.to_thread(run_on_terminal, *words)
        assert status == 0
        assert assert_harmless(output) == visible(text) + "\n"
    async with running(Service(text).app()) as url:
        words[2] = str(url)
        piped = await asyncio.to_thread(run_in_pipe, *words)
        assert piped == (0, text.encode(), b"")


@pytest.mark.sampled
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_problem_of_a_reply_is_shown(transport: str) -> None:
    async with running(EvilService("hi", "failed").app()) as url:
        words = ["ask", "--url", str(url), "--transport", transport, "hi"]
        status, output = await asyncio.to_thread(run_on_terminal, *words)
    assert status == 1
    said = assert_harmless(output)
    assert said.startswith("hi\nchatsvc ask: ")
    if transport in ("sse", "ndjson", "websocket"):
        assert r"title \x1b]0;owned\x07\u202egnp.exe: detail \x1b[2J\x9b31m" in said


Raw = Callable[[str], bytes]
"""Takes the first line of a request and gives the bytes of the response."""


@asynccontextmanager
async def raw(answer: Raw) -> AsyncIterator[str]:
    """Serve bytes that no HTTP library would send; give the URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(head.decode().partition("\r\n")[0]))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with listening(serve) as port:
        yield f"http://127.0.0.1:{port}/"


def response(status: str, body: str = "", *headers: str) -> bytes:
    data = body.encode("utf-8", "surrogateescape")
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(data)}", "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + data


PROBLEM = json.dumps({"title": f"no {TITLE}{C1}", "detail": f"{CLEAR}{BIDI}"})
RUDE: dict[str, bytes] = {
    "reason": response(f"418 no {C1}{BIDI}\udc9b"),
    "reason of a proxy": response(f"502 no {C1}{BIDI}"),
    "escape in the reason": response(f"502 no {TITLE}"),
    "problem": response("400 x", PROBLEM, "Content-Type: application/problem+json"),
    "proxy's page": response("502 x", f"<p>{EVIL}", "Content-Type: text/html"),
    "redirect": response("301 x", "", f"Location: /{C1}{BIDI}/api/chat"),
    "redirect to a host": response("302 x", "", f"Location: http://{C1}.x{BIDI}/"),
    "redirect to nothing": response("307 x", "", f"Location: {C1}://{BIDI}:x"),
    "type": response("200 x", "x", f"Content-Type: {C1}/{BIDI}"),
    "encoding": response("200 x", "x", f"Content-Encoding: {C1}{BIDI}"),
    "cookie": response("404 x", "x", f"Set-Cookie: {C1}{BIDI}={C1}; {BIDI}"),
    "header": response("404 x", "x", f"X{TITLE}: x"),
    "server": response("404 x", "x", f"Server: nginx{C1}{BIDI}\udc9b"),
    "via": response("200 x", "x", f"Via: 1.1 {C1}{BIDI}\udcff", "X-Reply-Id: A"),
    "retry": response("503 x", "x", f"Retry-After: {C1}"),
    "no HTTP": EVIL.encode() * 3 + b"\r\n\r\n",
    "length": b"HTTP/1.1 200 x\r\nContent-Length: \x1b[2J\r\n\r\n",
    "chunk": b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n\x1b[2J\r\n",
    "event": response(
        "200 x", f"event: {C1}\ndata: {EVIL}\n\n", "Content-Type: text/event-stream"
    ),
    "frame": response(
        "200 x",
        json.dumps({"event": "failed", "data": json.loads(PROBLEM)}) + "\n",
        "Content-Type: application/x-ndjson",
    ),
    "snapshot": response(
        "200 x",
        json.dumps({"reply": EVIL, "state": EVIL, "text": EVIL, "next": EVIL}),
        "Content-Type: application/json",
    ),
}
"""Responses whose every part is rude."""


@pytest.mark.sampled
@pytest.mark.parametrize("what", RUDE)
async def test_whatever_a_server_answers_ask_shows_it(what: str) -> None:
    async with raw(lambda _: RUDE[what]) as url:
        runs: list[Awaitable[tuple[int, bytes]]] = [
            asyncio.to_thread(
                run_on_terminal, "ask", "--url", url, "--transport", transport, "hi"
            )
            for transport in _transports(what)
        ]
        for status, output in await asyncio.gather(*runs):
            said = assert_harmless(output)
            assert status == 1
            assert "Traceback" not in said
            assert "chatsvc ask: " in said


def _transports(what: str) -> list[str]:
    """The transports that get to the rude part; one that is retried ten times takes long."""
    of = {"event": ["sse"], "frame": ["ndjson"], "snapshot": ["poll"]}
    return of.get(what, ["sse", "websocket"])


@pytest.mark.sampled
@pytest.mark.parametrize("what", RUDE)
async def test_whatever_a_server_answers_doctor_shows_it(what: str) -> None:
    async with raw(lambda _: RUDE[what]) as url:
        words = ["doctor", url, "--seconds", "1"]
        status, output = await asyncio.to_thread(run_on_terminal, *words)
    said = assert_harmless(output)
    assert status == 1
    assert "Traceback" not in said
    assert "sse " in said
    if what in ("server", "via"):
        assert r"\x9b31m\u202egnp.exe" in said


async def test_doctor_shows_a_reply_that_failed_and_a_pipe_gets_it_as_it_is() -> None:
    async with running(EvilService("hi", "failed").app()) as url:
        words = ["doctor", str(url), "--seconds", "1"]
        _, output = await asyncio.to_thread(run_on_terminal, *words)
    assert r"title \x1b]0;owned\x07" in assert_harmless(output)
    async with running(EvilService("hi", "failed").app()) as url:
        words[1] = str(url)
        _, out, errors = await asyncio.to_thread(run_in_pipe, *words)
    assert f"title {TITLE}{BIDI}: detail {CLEAR}{C1}" in out.decode()
    assert errors == b""


async def test_the_reason_of_a_closed_websocket_is_shown() -> None:
    async def close(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("chatsvc.v1",))
        await socket.prepare(request)
        await socket.receive()
        await socket.close(code=4400, message=f"no {TITLE}{C1}{BIDI}".encode())
        return socket

    app = web.Application()
    app.router.add_get("/ws/chat", close)
    async with running(app) as url:
        words = ["ask", "--url", str(url), "--transport", "websocket", "hi"]
        status, output = await asyncio.to_thread(run_on_terminal, *words)
    assert status == 1
    assert r"no \x1b]0;owned\x07\x9b31m\u202egnp.exe" in assert_harmless(output)


async def test_doctor_does_not_show_the_password_of_its_url() -> None:
    async with running(Service("hi").app()) as url:
        words = ["doctor", str(url.with_user("me").with_password("hunter2"))]
        _, out, errors = await asyncio.to_thread(run_in_pipe, *words, "--seconds", "1")
    assert b"hunter2" not in out + errors
    assert f"http://127.0.0.1:{url.port}/".encode() in out
