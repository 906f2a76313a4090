"""The API key of `chatsvc ask` and `chatsvc doctor`: where it is sent, and what a refusal says."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from yarl import URL

from chatsvc.app import create_app
from chatsvc.cli import main
from chatsvc.client.ask import AskSettings, ask
from chatsvc.client.diagnosis import judge
from chatsvc.client.doctor import DoctorSettings, examine, report
from chatsvc.client.reading import Backoff
from chatsvc.client.wire import Question, Timeouts, new_session, service_url
from chatsvc.settings import BadSetting, Settings, read_settings
from chatsvc.users.keys import KeyRing
from chatsvc.web.app_keys import KEYS
from tests.scripted_service import running

KEY = "a-key-of-the-right-user"
TRANSPORTS = ["auto", "sse", "ndjson", "websocket", "text", "poll"]


@asynccontextmanager
async def keyed(**settings: object) -> AsyncIterator[tuple[URL, web.Application]]:
    """A service for one key."""
    app = create_app(Settings(api_keys=KEY, **{"pace": 0, **settings}))  # type: ignore[arg-type]
    async with running(app) as url:
        yield url, app


async def asked(
    url: URL, transport: str, api_key: str, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """The exit status, the text, and what is on stderr."""
    text: list[str] = []
    status = await ask(
        service_url(str(url)),
        "hi",
        transport,
        text.append,
        api_key=api_key,
        timeouts=Timeouts(headers=10),
        backoff=Backoff(first=0.001, longest=0.002),
    )
    return status, "".join(text), capsys.readouterr().err


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_ask_sends_its_key_over_every_transport(
    transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with keyed() as (url, _):
        assert await asked(url, transport, KEY, capsys) == (0, "hi", "")
        for api_key, said in (
            ("", "the service wants a key, which CHATSVC_API_KEY may hold"),
            ("of-nobody", "the service does not know the key of CHATSVC_API_KEY"),
        ):
            status, text, line = await asked(url, transport, api_key, capsys)
            assert (status, text) == (1, "")
            assert line.startswith("chatsvc ask: ")
            assert line.endswith(f"{said}\n")


async def test_a_proxys_own_401_is_not_about_the_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def refuse(request: web.Request) -> web.Response:
        raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Basic"})

    app = web.Application()
    app.router.add_route("*", "/{all:.*}", refuse)
    async with running(app) as url:
        for transport in ("sse", "websocket"):
            _, _, line = await asked(url, transport, KEY, capsys)
            assert "401" in line
            assert "CHATSVC_API_KEY" not in line


async def test_a_key_that_is_withdrawn_meanwhile_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for transport, said in (
        ("websocket", "the key of CHATSVC_API_KEY has been withdrawn"),
        ("sse", "the service does not know the key of CHATSVC_API_KEY"),
    ):
        async with keyed(pace=0.01) as (url, app):
            keys = app[KEYS]
            assert keys is not None
            base = service_url(str(url))
            begun = asyncio.Event()
            asking = asyncio.create_task(
                ask(
                    base,
                    "x" * 5000,
                    transport,
                    lambda text, begun=begun: begun.set(),  # type: ignore[misc]
                    api_key=KEY,
                    backoff=Backoff(first=0.001, longest=0.002),
                )
            )
            await asyncio.wait_for(begun.wait(), 10)
            keys.replace(KeyRing())
            assert await asyncio.wait_for(asking, 10) == 1
        assert capsys.readouterr().err.endswith(f"{said}\n")


async def test_a_redirect_to_another_origin_gets_no_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sent: list[tuple[str, str | None]] = []

    async def note(request: web.Request) -> web.StreamResponse:
        authorization = request.headers.get("Authorization")
        sent.append((request.path, authorization))
        if request.path.startswith("/here"):
            raise web.HTTPTemporaryRedirect(f"/there{request.path[5:]}")
        if request.path.startswith("/away"):
            path = f"/caught{request.path[5:]}"
            raise web.HTTPTemporaryRedirect(str(elsewhere.with_path(path)))
        raise web.HTTPNotFound

    def server() -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{all:.*}", note)
        return app

    async with running(server()) as url, running(server()) as elsewhere:
        for transport in ("sse", "poll", "websocket"):
            await asked(url / "here", transport, KEY, capsys)
            await asked(url / "away", transport, KEY, capsys)
    of = {path.split("/")[1]: header for path, header in sent}
    bearer = f"Bearer {KEY}"
    assert of == {"here": bearer, "there": bearer, "away": bearer, "caught": None}
    # Of all requests of a place the header is the same.
    assert len(set(sent)) == len({path for path, _ in sent})


@pytest.mark.parametrize("host", ["127.0.0.1", "service.test"])
async def test_the_key_wins_over_the_netrc_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Away from the loopback aiohttp itself reads that file, and takes no other header."""
    (tmp_path / "netrc").write_text(f"machine {host} login ann password x\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    sent: list[str | None] = []

    async def note(request: web.Request) -> web.Response:
        sent.append(request.headers.get("Authorization"))
        return web.Response()

    app = web.Application()
    app.router.add_get("/", note)
    async with running(app) as url:
        # The proxy of the environment leads the other name to the same server.
        monkeypatch.setenv("HTTP_PROXY", str(url))
        base = url.with_host(host)
        for api_key in (KEY, ""):
            async with new_session(base, api_key) as session:
                await session.get(base)
    assert sent[0] == f"Bearer {KEY}"
    assert sent[1] is not None and sent[1].startswith("Basic ")


async def test_doctor_sends_its_key_and_says_that_it_needs_one() -> None:
    async with keyed(pace=0.02) as (url, _):
        base = service_url(str(url))
        for api_key, said in (
            (KEY, "works"),
            ("", "the service wants a key, which CHATSVC_API_KEY may hold"),
            ("of-nobody", "the service does not know the key of CHATSVC_API_KEY"),
        ):
            trials = await examine(base, 1, api_key=api_key)
            findings = [judge(trial, trials) for trial in trials]
            lines = report(base, trials, findings)
            assert len(trials) == (6 if api_key == KEY else 5)
            assert all(said in finding.summary for finding in findings), lines
            assert KEY not in "\n".join(lines)


@pytest.mark.parametrize("kind", [AskSettings, DoctorSettings])
def test_the_key_comes_from_its_variable_and_is_never_shown(
    kind: type[AskSettings | DoctorSettings],
) -> None:
    settings = read_settings(kind, {}, {"CHATSVC_API_KEY": f" {KEY}\n"})
    assert settings.api_key == KEY
    assert KEY not in repr(settings)
    for bad in (f"{KEY} x", f"{KEY}\nx", "clé-secrète", "\x7f"):
        with pytest.raises(BadSetting) as refused:
            read_settings(kind, {}, {"CHATSVC_API_KEY": bad})
        assert str(refused.value) == (
            "CHATSVC_API_KEY takes one API key, of visible ASCII characters"
        )
    assert KEY not in repr(Question(URL("http://x/"), {}, "k", api_key=KEY))


@pytest.mark.parametrize(
    "words", [("doctor", "http://ann:x@h/"), ("ask", "--url=http://ann:x@h/", "hi")]
)
def test_a_key_and_a_password_of_the_url_have_one_place(
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CHATSVC_API_KEY", KEY)
    assert main(words) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "CHATSVC_API_KEY goes where the URL's user and password go" in line
    assert KEY not in line


async def test_the_command_reads_it() -> None:
    async with keyed() as (url, _):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "chatsvc", "ask", "--url", str(url), "hi"),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "CHATSVC_API_KEY": KEY},
        )
        out, _ = await asyncio.wait_for(process.communicate(), 20)
        assert (process.returncode, out) == (0, b"hi")
