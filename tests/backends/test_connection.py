"""Connections to a model's server: kept, asked again, bounded, closed."""

import asyncio
import itertools
import socket
import ssl
from collections.abc import Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from chatsvc.backends import direct
from chatsvc.backends.connection import HELD_LIMIT
from chatsvc.backends.openai import OpenAIBackend
from chatsvc.model import Finish
from chatsvc.problems import BackendFailed
from tests.backends.asking import PROMPT, asked
from tests.backends.keeping_server import (
    ANSWER,
    CLOSE,
    END,
    HEAD,
    KeepingServer,
    chunked,
)
from tests.loopback import listening
from tests.scripted_upstream import DONE, HANG, Part, Upstream, chunk, head

STOP = chunk(None, finish_reason="stop")


async def read(backend: OpenAIBackend) -> str:
    """Return the text of one answer."""
    text = ""
    async with aclosing(backend.stream(PROMPT)) as pieces:
        async for piece in pieces:
            if isinstance(piece, str):
                text += piece
    return text


async def read_times(server: KeepingServer, times: int, **options: Any) -> list[str]:
    """Return the texts of answers, one after the other, and close the backend."""
    async with server.running() as url:
        backend = OpenAIBackend(url, **{"first_backoff": 0.0, **options})
        try:
            texts = []
            for _ in range(times):
                texts.append(await read(backend))
                await asyncio.sleep(0.1)  # for what follows the answer
        finally:
            await backend.close()
        await asyncio.wait_for(server.left.wait(), 10)
    assert server.open == 0
    return texts


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param([ANSWER + END], id="at once"),
        pytest.param([ANSWER, END], id="the end comes later"),
        pytest.param([ANSWER, 0.01, END[:2], 0.01, END[2:]], id="the end in pieces"),
        pytest.param(
            [HEAD + b"\r\n" + chunked(chunk("a")), chunked(STOP), END], id="no [DONE]"
        ),
    ],
)
async def test_one_connection_serves_one_answer_after_another(
    answer: list[Part],
) -> None:
    server = KeepingServer(answer)
    assert await read_times(server, 4) == ["a"] * 4
    assert server.requests == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param([ANSWER, HANG], id="no end"),
        pytest.param([ANSWER, chunked(b":" * 8000), HANG], id="more than an end"),
        pytest.param(
            [ANSWER.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + END, HANG],
            id="close",
        ),
        pytest.param([ANSWER + END + ANSWER + END, HANG], id="one answer too many"),
        pytest.param([head() + chunk("a") + STOP + DONE, HANG], id="no length"),
    ],
)
async def test_a_connection_that_can_not_be_kept(
    answer: list[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatsvc.backends.connection.DRAIN_S", 0.01)
    server = KeepingServer(answer)
    assert await read_times(server, 2) == ["a"] * 2
    assert server.requests == [1, 2]


async def test_a_server_names_the_time_for_which_it_keeps_a_connection() -> None:
    kept = ANSWER.replace(b"\r\n", b"\r\nKeep-Alive: max=9, timeout=1\r\n", 1) + END
    server = KeepingServer([kept])
    assert await read_times(server, 2) == ["a"] * 2
    assert server.requests == [1, 2]


async def test_a_connection_is_closed_when_nobody_has_used_it_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(direct, "IDLE_S", 0.01)
    server = KeepingServer([ANSWER + END])
    async with server.running() as url:
        backend = OpenAIBackend(url)
        assert await read(backend) == "a"
        await asyncio.wait_for(server.left.wait(), 10)
        assert server.open == 0
        await backend.close()


async def test_words_without_a_question_close_a_connection() -> None:
    server = KeepingServer([ANSWER + END, 0.05, ANSWER + END])
    async with server.running() as url:
        backend = OpenAIBackend(url)
        assert await read(backend) == "a"
        await asyncio.sleep(0.2)
        assert await read(backend) == "a"
        assert server.requests == [1, 2]
        await backend.close()


async def test_a_kept_connection_that_closes_on_the_request_is_no_attempt() -> None:
    """Each of two attempts meets one: it is asked again on a new connection, and answered."""
    refused = b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"
    server = KeepingServer(
        [ANSWER + END], [CLOSE], [refused], [CLOSE], [refused], [CLOSE], [ANSWER + END]
    )
    assert await read_times(server, 2) == ["a", "a"]
    assert server.requests == [1, 1, 2, 2, 3, 3, 4]


@pytest.mark.parametrize(
    "begin", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK"]
)
async def test_one_that_has_begun_to_answer_is_an_attempt(begin: bytes) -> None:
    server = KeepingServer([ANSWER + END], [begin, CLOSE])
    with pytest.raises(BackendFailed, match="can't be reached"):
        await read_times(server, 2)
    assert len(server.requests) == 1 + 3


async def test_a_new_connection_that_closes_on_the_request_is_an_attempt() -> None:
    server = KeepingServer([CLOSE])
    with pytest.raises(BackendFailed, match="can't be reached"):
        await read_times(server, 1)
    assert server.requests == [1, 2, 3]


async def test_nothing_is_asked_twice_after_text() -> None:
    begun = HEAD + b"\r\n" + chunked(chunk("a"))
    server = KeepingServer([ANSWER + END], [begun, CLOSE])
    with pytest.raises(BackendFailed, match="broke off"):
        await read_times(server, 2)
    assert server.requests == [1, 1]


async def test_many_at_a_time_have_a_connection_each_and_keep_them() -> None:
    server = KeepingServer([ANSWER, 0.05, END])
    async with server.running() as url:
        backend = OpenAIBackend(url)
        for _ in range(3):
            assert await asyncio.gather(*[read(backend) for _ in range(5)]) == ["a"] * 5
            await asyncio.sleep(0.1)
        assert server.connections == 5
        await backend.close()
        await asyncio.wait_for(server.left.wait(), 10)
    assert server.open == 0


async def test_what_nobody_takes_stays_with_the_server() -> None:
    """A reader that stops holds some pages of text, and none of what the server goes on sending."""
    sent = 0

    def flood() -> Iterable[bytes]:
        nonlocal sent
        yield head()
        while True:
            sent += 10_000
            yield chunk("x" * 10_000)

    upstream = Upstream(flood())
    async with upstream.running() as url:
        backend = OpenAIBackend(url)
        async with aclosing(backend.stream(PROMPT)) as pieces:
            assert await anext(pieces)
            before = -1
            while before != sent:  # until the buffers of both kernels are full
                before = sent
                await asyncio.sleep(0.2)
            async with asyncio.timeout(10):
                while sent == before:  # it goes on
                    assert await anext(pieces)
                    await asyncio.sleep(0)
        await backend.close()


async def test_silence_while_nobody_takes_is_not_the_servers() -> None:
    parts = [chunk("x" * HELD_LIMIT), chunk("y" * HELD_LIMIT), STOP, DONE]
    upstream = Upstream([head(), *parts, HANG])
    async with upstream.running() as url:
        backend = OpenAIBackend(url, timeout=0.1)
        text, finish = "", None
        async with aclosing(backend.stream(PROMPT)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Finish):
                    finish = piece
                elif isinstance(piece, str):
                    text += piece
                    await asyncio.sleep(0.3)
        await backend.close()
    assert (len(text), finish) == (2 * HELD_LIMIT, Finish("stop"))


async def test_closing_the_backend_ends_what_runs() -> None:
    upstream = Upstream([head(), chunk("a"), HANG])
    async with upstream.running() as url:
        backend = OpenAIBackend(url, first_backoff=0.0)
        pieces = backend.stream(PROMPT)
        assert await anext(pieces) == "a"
        waiting = asyncio.ensure_future(anext(pieces))
        await asyncio.sleep(0)
        await backend.close()
        await asyncio.wait_for(upstream.left.wait(), 10)
        with pytest.raises(BackendFailed):
            await waiting
        await pieces.aclose()
    assert upstream.open == 0


# ------------------------------------------------------------------ connecting


async def test_the_certificate_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(own)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head() + chunk("a") + STOP + DONE)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "localhost", 0, ssl=own)
    port = server.sockets[0].getsockname()[1]
    async with server:
        url = f"https://localhost:{port}/v1"
        stranger = OpenAIBackend(url, first_backoff=0.0)
        with pytest.raises(BackendFailed, match="can't be reached"):
            await read(stranger)
        await stranger.close()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        known = OpenAIBackend(url, first_backoff=0.0)
        assert await read(known) == "a"
        await known.close()


async def test_an_address_that_does_not_answer_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name has two addresses; nothing listens at the first."""
    upstream = Upstream([head(), chunk("a"), STOP, DONE])
    lookups: list[str] = []

    async with upstream.running() as url:
        port = int(url.split(":")[2].split("/")[0])

        async def lookup(host: str, port: int, **_: Any) -> list[Any]:
            lookups.append(host)
            kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
            return [(*kind, ("127.0.0.2", 1)), (*kind, ("127.0.0.1", port))]

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", lookup)
        backend = OpenAIBackend(f"http://model.test:{port}/v1", first_backoff=0.0)
        assert await asyncio.gather(*[read(backend) for _ in range(3)]) == ["a"] * 3
        assert lookups == ["model.test"]  # once for all
        assert "Host: model.test:" in upstream.heads[0]
        await backend.close()


async def test_a_connection_that_never_is_made() -> None:
    """A full queue of a listening socket: the handshake is not answered."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        others = []
        for _ in range(5):
            other = socket.socket()
            other.setblocking(False)
            other.connect_ex(("127.0.0.1", port))
            others.append(other)
        backend = OpenAIBackend(f"http://127.0.0.1:{port}/v1", timeout=0.2)
        with pytest.raises(BackendFailed, match="did not answer in time"):
            await read(backend)
        await backend.close()
        for other in others:
            other.close()


async def test_a_server_that_speaks_no_http() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
            await reader.read()
        finally:
            writer.close()

    async with listening(serve) as port:
        backend = OpenAIBackend(f"http://127.0.0.1:{port}/v1", first_backoff=0.0)
        with pytest.raises(BackendFailed, match="can't be reached"):
            await read(backend)
        await backend.close()


@pytest.mark.parametrize("url", ["ftp://a/v1", "http:///v1", "/v1", "a"])
def test_a_url_that_can_not_be_asked(url: str) -> None:
    with pytest.raises(ValueError, match="no URL of a model's server"):
        OpenAIBackend(url)


def test_a_key_that_can_not_be_sent() -> None:
    with pytest.raises(ValueError, match="Authorization"):
        OpenAIBackend("http://127.0.0.1/v1", key="a\r\nX: y")


# ------------------------------------------------------------------ uvloop


SCRIPTS: dict[str, list[Part]] = {
    "an answer": [head(), chunk("a"), STOP, DONE],
    "byte by byte": [bytes([b]) for b in head() + chunk("a") + STOP],
    "an answer and no end": [head(), chunk("a"), STOP, DONE, HANG],
    "a long answer": [head(), *[chunk("x" * 3000)] * 50, chunk("a"), STOP, DONE],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_on_uvloop(name: str) -> None:
    """The service runs on it: its transports are no asyncio's, and their clock has milliseconds."""
    text, finish, failure = uvloop.run(asked(Upstream(SCRIPTS[name])))
    assert (text.strip("x"), finish, failure) == ("a", Finish("stop"), "")


@pytest.mark.parametrize(
    ("script", "detail"),
    [
        ([HANG], "did not answer in time"),
        ([head(), HANG], "fell silent"),
        ([head(), chunk("a"), HANG], "fell silent"),
        ([head(), chunk("a")], "broke off"),
        ([head("400 X"), HANG], "refused with 400"),
    ],
)
def test_failures_on_uvloop(script: list[Part], detail: str) -> None:
    assert detail in uvloop.run(asked(Upstream(script), timeout=0.1))[2]


@pytest.mark.thorough
def test_a_flood_on_uvloop() -> None:
    flood = itertools.repeat(b":\n" * 32768)
    text, _, detail = uvloop.run(
        asked(Upstream(itertools.chain([head(), chunk("a")], flood)))
    )
    assert (text, detail) == ("a", "The model's server sent more than can be kept.")
