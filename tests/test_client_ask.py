"""`chatsvc ask` against a scripted service, through cuts and refusals."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from aiohttp import web

from chatsvc.app import create_app
from chatsvc.cli import main
from chatsvc.client.ask import AskSettings, ask
from chatsvc.client.reader import read_text, stop_reply
from chatsvc.client.reading import Backoff, Reading
from chatsvc.client.wire import Question, Timeouts, service_url
from chatsvc.settings import Settings, read_settings
from tests.scripted_service import CuttingProxy, Service, running

TEXT = "你好 👨‍👩‍👧‍👦\n\n  a b\n🇩🇪e\u0301 [DONE]"
QUICK = Backoff(first=0.001, longest=0.002)
TRANSPORTS = ["sse", "ndjson", "websocket", "text", "poll"]
ANY = ["auto", *TRANSPORTS]


async def answer_of(
    url: object, transport: str, timeouts: Timeouts | None = None
) -> tuple[int, str]:
    text: list[str] = []
    status = await ask(
        service_url(str(url)),
        "hi",
        transport,
        text.append,
        timeouts=timeouts,
        backoff=QUICK,
    )
    return status, "".join(text)


@pytest.mark.parametrize("transport", ANY)
async def test_the_text_is_exact(transport: str) -> None:
    service = Service(TEXT)
    async with running(service.app()) as url:
        assert await answer_of(url, transport) == (0, TEXT)
    assert service.started == [{"message": "hi"}]


@pytest.mark.thorough
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_cut_after_every_byte_the_text_is_exact_and_asked_for_once(
    transport: str,
) -> None:
    text = "你🇩🇪\n a"
    async with running(Service(text).app()) as url:
        proxy = CuttingProxy(url, [])
        async with proxy.running() as through:
            assert await answer_of(through, transport) == (0, text)
        length = max(proxy.lengths)
    service = Service(text)
    async with running(service.app()) as url:
        proxy = CuttingProxy(url, [])
        async with proxy.running() as through:
            # Each byte of the body, and here and there in the head.
            for cut in [*range(0, 160, 16), *range(160, length + 1)]:
                service.started.clear()
                service.keys.clear()
                proxy.cuts[:] = [cut, cut]
                assert await answer_of(through, transport) == (0, text), cut
                assert len(service.started) == 1, cut


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.sampled
async def test_the_real_service_cut_anywhere(transport: str) -> None:
    text = "你🇩🇪\n a"

    async def answer(messages: list[dict[str, str]]) -> AsyncIterator[str]:
        for character in text:
            yield character

    app = create_app(Settings(), backend=answer)
    async with running(app) as url:
        proxy = CuttingProxy(url, [])
        async with proxy.running() as through:
            assert await answer_of(through, transport) == (0, text)
            length = max(proxy.lengths)
            head = 400 if transport != "websocket" else 120
            for cut in [*range(0, head, 50), *range(head, length + 1, 2)]:
                proxy.cuts[:] = [cut, cut]
                assert await answer_of(through, transport) == (0, text), cut


@pytest.mark.parametrize("transport", ANY)
async def test_a_failed_reply_gives_its_text_one_line_and_status_1(
    transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service = Service(TEXT, "failed")
    async with running(service.app()) as url:
        assert await answer_of(url, transport) == (1, TEXT)
    said = capsys.readouterr().err
    assert said.startswith("chatsvc ask: ") and said.count("\n") == 1
    assert "failed" in said


async def test_a_refusal_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    service = Service(TEXT)
    service.refuse = [(413, {})]
    async with running(service.app()) as url:
        assert await answer_of(url, "sse") == (1, "")
    assert capsys.readouterr().err == "chatsvc ask: No: not now\n"


@pytest.mark.parametrize("transport", ["auto", "sse", "ndjson", "text", "poll"])
async def test_a_redirect_that_loses_the_question_is_told(
    transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A 301 makes a GET of a POST; the answer to that would be about another request."""
    service = Service(TEXT)
    async with running(service.app()) as url:

        async def elsewhere(request: web.Request) -> web.StreamResponse:
            raise web.HTTPMovedPermanently(url / request.path.removeprefix("/"))

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", elsewhere)
        async with running(app) as moved:
            assert await answer_of(moved, transport) == (1, "")
    said = capsys.readouterr().err
    assert f"; ask {url}\n" in said and said.count("\n") == 1
    assert not service.started


@pytest.mark.parametrize("transport", ["sse", "ndjson", "text", "poll"])
async def test_busy_is_asked_again(transport: str) -> None:
    service = Service(TEXT)
    service.refuse = [(503, {"Retry-After": "0"}), (429, {"Retry-After": "0"})]
    async with running(service.app()) as url:
        assert await answer_of(url, transport) == (0, TEXT)
    assert len(service.started) == 1 and len(service.seen) >= 3


async def test_nothing_left_is_followed_by_asking_how_it_ended() -> None:
    service = Service(TEXT)
    async with running(service.app()) as url:
        proxy = CuttingProxy(url, [400])
        async with proxy.running() as through:
            service.refuse = []
            task = asyncio.create_task(answer_of(through, "sse"))
            await service.running.wait()
            service.refuse = [(204, {})]
            assert await task == (0, TEXT)
    assert service.seen[-1] == "GET application/json"


async def test_nobody_there_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    async with running(Service("").app()) as url:
        gone = url
    for transport in ANY:
        assert await answer_of(gone, transport) == (1, "")
        assert f"can't reach 127.0.0.1:{gone.port}" in capsys.readouterr().err


HASTY = Timeouts(headers=0.2, first_byte=0.05, silence=0.3)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda service: setattr(service, "sse_type", "text/html"), "text/html came"),
        (lambda service: setattr(service, "stamps", [1000, 1500]), "a proxy holds"),
    ],
)
async def test_auto_goes_on_by_websocket_when_something_spoils_the_stream(
    spoil: Callable[[Service], None], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service = Service(TEXT)
    spoil(service)
    service.hold.clear()  # the end does not come before the WebSocket does
    async with running(service.app()) as url:
        task = asyncio.create_task(answer_of(url, "auto", HASTY))
        await asyncio.wait_for(service.upgraded.wait(), 30)
        service.hold.set()
        assert await task == (0, TEXT)
    said = capsys.readouterr().err
    assert why in said and "websocket in place of sse" in said
    # As text alone does not say whether the reply was cut, a poll follows.
    assert service.seen[-2:] == ["WS", "GET application/json"]
    assert len(service.started) == 1


async def test_auto_ends_at_polls_when_streams_and_websockets_fall_silent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    service = Service(TEXT)
    async with running(service.app()) as url:
        # aiohttp itself repeats a GET once, so the WebSocket takes up to four of them.
        proxy = CuttingProxy(url, [0] * 6)
        async with proxy.running() as through:
            assert await answer_of(through, "auto", HASTY) == (0, TEXT)
    assert "poll in place of websocket" in capsys.readouterr().err
    assert len(service.started) == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_stopped_reply_is_said(
    transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(Service(TEXT, "stopped").app()) as url:
        assert await answer_of(url, transport) == (3, TEXT)
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.sampled
@pytest.mark.skipif(os.name != "posix", reason="signals are sent to a process")
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_ctrl_c_stops_the_reply_on_the_server(transport: str) -> None:
    service = Service(TEXT)
    service.hold.clear()
    async with running(service.app()) as url:
        code = (
            "import sys; from chatsvc.client.ask import *;"
            "from chatsvc.client.wire import service_url;"
            "sys.exit(run_ask(sys.argv[1], service_url(sys.argv[2]), sys.argv[3]))"
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code, "-", str(url), transport),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("你\n".encode())
        process.stdin.close()
        text = await process.stdout.readexactly(len(TEXT.encode()))
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(service.stopped.wait(), 20)
        service.hold.set()
        assert await asyncio.wait_for(process.wait(), 20) == 130
        assert text.decode() == TEXT
        assert service.started == [{"message": "你\n"}]


async def test_stop_finds_out_what_to_stop_when_the_answer_was_lost() -> None:
    service = Service(TEXT)
    async with running(service.app()) as url, aiohttp.ClientSession() as session:
        question = Question(service_url(str(url)), {"message": "hi"}, "key")
        assert await stop_reply(session, question, None)
    assert service.stopped.is_set() and len(service.started) == 1


async def test_retry_is_the_least_wait_before_the_next_connection() -> None:
    service = Service(TEXT)
    service.retry = 200  # milliseconds
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with running(service.app()) as url, aiohttp.ClientSession() as session:
        proxy = CuttingProxy(url, [330])
        async with proxy.running() as through:
            question = Question(service_url(str(through)), {"message": "hi"}, "key")
            reading = Reading(["sse"], backoff=QUICK)
            texts = read_text(session, question, reading, print, sleep)
            assert "".join([text async for text in texts]) == TEXT
    assert waits == [0, 0.2]


def test_arguments() -> None:
    settings = read_settings(AskSettings, {"url": "http://h:1/chat?x=1"}, {})
    assert str(settings.url) == "http://h:1/chat/"
    assert str(service_url("http://h:1")) == "http://h:1/"
    assert str(service_url("http://h:1/chat/")) == "http://h:1/chat/"
    for bad in ("h:1", "ftp://h", "", "http://", "http://[", "localhost"):
        with pytest.raises(ValueError):
            service_url(bad)


@pytest.mark.parametrize(
    ("words", "variables", "named"),
    [
        (["--url", "ftp://h", "hi"], {}, "--url"),
        (["hi"], {"CHATSVC_TRANSPORT": "pigeon"}, "CHATSVC_TRANSPORT"),
        ([], {}, "MESSAGE"),
    ],
)
def test_what_can_not_be_asked_is_one_line_and_status_2(
    words: list[str],
    variables: dict[str, str],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    status = main(["ask", *words])
    (line,) = capsys.readouterr().err.splitlines()
    assert (status, line.partition(":")[0]) == (2, "chatsvc ask")
    assert named in line
