"""`chatsvc doctor` through proxies that pass on, hold back, cut, stall and refuse."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from chatsvc.app import create_app
from chatsvc.client.diagnosis import (
    Finding,
    Trial,
    best_transport,
    duration,
    judge,
    lag,
)
from chatsvc.client.doctor import DoctorSettings, examine, message, report
from chatsvc.client.signals import Attached, Ended, TextReceived
from chatsvc.client.wire import service_url
from chatsvc.settings import BadSetting, Settings, read_settings
from chatsvc.web.app_keys import REPLIES
from tests.conftest import require
from tests.loopback import free_port
from tests.nginx_server import NginxServer
from tests.page import proxies
from tests.page.proxies import Pipe, Proxy
from tests.scripted_service import Service, running

STREAMS = {"sse", "ndjson", "text", "eventsource"}
ALL = STREAMS | {"websocket", "poll"}
PACE = 0.06
"""Seconds a character: so the shortest message takes longer than it must to be judged."""


async def findings_of(
    url: object, late: float = 5.0
) -> tuple[dict[str, Finding], list[str]]:
    """What the command finds, by transport, and what it prints."""
    root = service_url(str(url))
    trials = await examine(root, 1, late=late)
    findings = [judge(trial, trials) for trial in trials]
    lines = report(root, trials, findings)
    return {finding.transport: finding for finding in findings}, lines


def broken(findings: dict[str, Finding]) -> set[str]:
    return {finding.transport for finding in findings.values() if not finding.works}


def is_stream(head: bytes) -> bool:
    """Whether it wants a body that goes on."""
    kinds = b"text/event-stream", b"accept: text/plain", b"application/x-ndjson"
    return any(kind in head or kind in head.lower() for kind in kinds)


def is_upgrade(head: bytes) -> bool:
    """Whether it wants a WebSocket."""
    return b"\r\nupgrade: websocket" in head.lower()


def streams(pipe: Pipe) -> Callable[[bytes], Pipe]:
    """A proxy that does something to streams."""
    return lambda head: pipe if is_stream(head) else proxies.pass_on


def upgrades(pipe: Pipe) -> Callable[[bytes], Pipe]:
    """A proxy that does something to WebSockets."""
    return lambda head: pipe if is_upgrade(head) else proxies.pass_on


CASES: list[tuple[Callable[[bytes], Pipe], set[str], str, str]] = [
    (lambda _: proxies.pass_on, set(), "works: at most", "sse"),
    (streams(proxies.hold_back), STREAMS, "held back", "websocket"),
    (streams(proxies.head_only()), STREAMS, "held back", "websocket"),
    (streams(proxies.cut(70)), STREAMS, "cut at", "websocket"),
    (streams(proxies.cut(0)), STREAMS, "after 0 of", "websocket"),
    (streams(proxies.stall(70)), STREAMS, "fell silent after", "websocket"),
    (streams(proxies.swallow), STREAMS, "no answer came", "websocket"),
    (streams(proxies.drop), STREAMS - {"eventsource"}, "broke", "websocket"),
    (upgrades(proxies.refuse), {"websocket"}, "refused with 400", "sse"),
    (upgrades(proxies.swallow), {"websocket"}, "no answer came", "sse"),
]


async def test_it_tells_what_stands_between() -> None:
    """All at once: most of it is waiting for the reply."""
    app = create_app(Settings(pace=PACE))

    async def behind_one(
        choose: Callable[[bytes], Pipe], spoilt: set[str], says: str, best: str
    ) -> None:
        async with Proxy(url.port or 0, choose) as proxy:
            findings, lines = await findings_of(proxy.url, late=0.5)
        assert spoilt <= broken(findings) <= spoilt | {"eventsource"}, lines
        for transport in spoilt or ALL:
            assert says in findings[transport].summary, lines
            assert bool(findings[transport].advice) == bool(spoilt), lines
        assert any(f"read by {best} here" in line for line in lines), lines

    async with running(app) as url:
        await asyncio.gather(*(behind_one(*case) for case in CASES))
    assert app[REPLIES].running == 0


NGINX = """
{http}
server {{
  listen 127.0.0.1:{port};
  location / {{ proxy_pass http://127.0.0.1:{service}; {location} }}
}}
"""


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("http", "location", "spoilt", "advice"),
    [
        ("", "", {"websocket"}, "proxy_set_header Upgrade"),
        (
            "",
            "proxy_ignore_headers X-Accel-Buffering;",
            STREAMS | {"websocket"},
            "proxy_buffering off",
        ),
        (
            "gzip on; gzip_min_length 1; gzip_types *;",
            "proxy_ignore_headers X-Accel-Buffering;",
            STREAMS | {"websocket"},
            "gzip off",
        ),
    ],
)
async def test_behind_nginx(
    tmp_path: Path, http: str, location: str, spoilt: set[str], advice: str
) -> None:
    require("nginx")
    port = free_port()
    async with running(create_app(Settings(pace=PACE))) as url:
        server = NginxServer(
            tmp_path,
            port,
            NGINX.format(port=port, service=url.port, http=http, location=location),
        )
        server.start()
        try:
            findings, lines = await findings_of(server.url)
        finally:
            server.stop()
    assert broken(findings) == spoilt, lines
    assert "nginx" in lines[0]
    assert any(advice in line for line in lines), lines


async def test_a_service_that_says_no_is_not_blamed_on_a_proxy() -> None:
    async def nobody(_: object) -> None:
        return None

    async with running(create_app(Settings(), authorize=nobody)) as url:
        findings, lines = await findings_of(url)
    assert broken(findings) == ALL - {"eventsource"}
    assert "chatsvc refuses: Who are you?" in findings["sse"].summary
    assert all(finding.advice == () for finding in findings.values())
    assert lines[-1] == "Nothing works as it should."


async def test_a_host_that_is_not_answered_is_not_blamed_on_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The service is named as the way to a host that is none of its own."""
    async with running(create_app(Settings(allow_host=("chat.example",)))) as url:
        for scheme in ("http", "ws"):
            monkeypatch.setenv(f"{scheme}_proxy", str(url))
        findings, lines = await findings_of("http://other.invalid/")
    assert broken(findings) == ALL - {"eventsource"}
    assert "--allow-host other.invalid" in findings["sse"].summary
    assert "refused with 421" in findings["websocket"].summary
    assert all(finding.advice == () for finding in findings.values()), lines


async def test_nobody_there_is_said_at_once() -> None:
    findings, lines = await findings_of(f"http://127.0.0.1:{free_port()}")
    assert all("can't reach" in finding.summary for finding in findings.values())
    assert lines[-1] == "Nothing works as it should."


async def test_a_reply_too_fast_to_judge_and_one_that_fails() -> None:
    async def fails(_: object) -> AsyncIterator[str]:
        yield "hi"
        raise ValueError

    async with running(create_app(Settings(pace=0))) as url:
        findings, _ = await findings_of(url)
    assert broken(findings) == set()
    assert "too fast" in findings["poll"].summary
    async with running(create_app(Settings(), backend=fails)) as url:
        findings, _ = await findings_of(url)
    assert "the reply failed" in findings["sse"].summary


async def test_a_reply_without_end_is_stopped() -> None:
    hold = asyncio.Event()

    async def endless(_: object) -> AsyncIterator[str]:
        yield "hi"
        await hold.wait()

    app = create_app(Settings(), backend=endless)
    async with running(app) as url:
        trials = await examine(service_url(str(url)), 1, overtime=0)
        # The last character might still have grown.
        assert {trial.text for trial in trials} == {"h"}
        assert all(judge(trial, trials).works for trial in trials)
        assert app[REPLIES].running == 0


async def test_ctrl_c_stops_the_reply() -> None:
    service = Service("hi")
    service.hold.clear()
    async with running(service.app()) as url:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "chatsvc", "doctor", str(url)),
            stdout=asyncio.subprocess.DEVNULL,
        )
        await asyncio.wait_for(service.running.wait(), 20)
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(service.stopped.wait(), 20)
        service.hold.set()
        assert await asyncio.wait_for(process.wait(), 20) == 130


Moments = st.lists(st.integers(0, 100).map(lambda tenths: tenths / 10), min_size=1)


def trial_of(moments: list[float], transport: str = "sse") -> Trial:
    """One whose reply, a character long for each moment, came at these."""
    trial = Trial(transport)
    trial.take(Attached("r"), 0.0)
    for position, moment in enumerate(sorted(moments), 1):
        trial.take(TextReceived(position, "x"), moment)
    trial.take(Ended("done"), max(moments))
    return trial


@given(Moments, st.floats(0, 10))
def test_only_what_is_late_is_behind(moments: list[float], delay: float) -> None:
    prompt, late = trial_of(moments), trial_of([m + delay for m in moments], "text")
    both = [prompt, late]
    assert lag(prompt, both) == 0
    assert lag(late, both) == pytest.approx(delay)
    assert duration(both) == pytest.approx(max(moments) - min(moments))
    assert judge(prompt, both).works
    assert judge(late, both).works == (lag(late, both) < 0.5)


@given(Moments, st.data())
def test_all_at_once_is_behind_by_the_first_of_them(
    moments: list[float], data: st.DataObject
) -> None:
    prompt = trial_of(moments)
    bunched = Trial("text", answered=True)
    bunched.take(TextReceived(len(moments), "x" * len(moments)), max(moments))
    assert lag(bunched, [bunched, prompt]) == max(moments) - min(moments)


@pytest.mark.parametrize(
    ("signals", "torn"),
    [
        ([TextReceived(2, "ab"), TextReceived(3, "c")], False),
        ([TextReceived(1, "a"), TextReceived(3, "c")], True),
        ([TextReceived(1, "a"), TextReceived(1, "a")], True),
        ([TextReceived(2, "ab"), TextReceived(1, "a")], True),
    ],
)
def test_a_text_with_holes_or_doubles_is_torn(
    signals: list[TextReceived], torn: bool
) -> None:
    trial = Trial("sse", answered=True)
    for at in signals:
        trial.take(at, 1.0)
    trial.take(Ended("done"), 1.0)
    assert judge(trial, [trial]).works != torn


def test_another_text_is_told() -> None:
    mine, other = Trial("text", answered=True), Trial("poll", answered=True)
    mine.take(TextReceived(1, "?"), 0.0)
    other.take(TextReceived(2, "é!"), 0.0)
    assert "another text" in judge(mine, [mine, other]).summary


def test_the_best_that_works_is_best_transport() -> None:
    assert (
        best_transport([Finding("poll", True, ""), Finding("sse", False, "")]) == "poll"
    )
    assert best_transport([Finding("text", True, "")]) is None


def test_arguments() -> None:
    assert service_url("http://h:1/chat") == URL("http://h:1/chat/")
    assert read_settings(DoctorSettings, {"seconds": "60"}, {}).seconds == 60
    for bad in ("0", "601", "nan", "soon"):
        with pytest.raises(BadSetting):
            read_settings(DoctorSettings, {"seconds": bad}, {})


@given(st.integers(1, 600))
def test_the_message_takes_an_echo_that_long(wanted: int) -> None:
    assert wanted * 10 <= len(message(wanted)) <= max(34, wanted * 10 + 5)
