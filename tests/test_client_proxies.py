"""`chatsvc ask` and `chatsvc doctor` go to the loopback without a proxy, and name it elsewhere."""

import asyncio
from pathlib import Path

import pytest

from chatsvc.client.ask import ask
from chatsvc.client.diagnosis import judge
from chatsvc.client.doctor import examine
from chatsvc.client.reader import TRANSPORTS
from chatsvc.client.reading import Backoff
from chatsvc.client.wire import service_url
from tests.loopback import free_port, listening
from tests.scripted_service import Service, running

QUICK = Backoff(first=0.001, longest=0.002)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_ask_reads_from_the_loopback(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    text: list[str] = []
    async with running(Service("abc").app()) as url:
        status = await ask(
            service_url(str(url)), "hi", transport, text.append, backoff=QUICK
        )
    assert (status, "".join(text)) == (0, "abc")


async def test_doctor_reads_from_the_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    async with running(Service("abc").app()) as url:
        trials = await examine(service_url(str(url)), 1.0)
    assert all(judge(trial, trials).works for trial in trials)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_ask_names_a_proxy_that_is_not_there(
    transport: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    proxy = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("HTTP_PROXY", proxy.replace("//", "//u:s3cret@"))
    url = service_url("http://service.test/")
    status = await ask(url, "hi", transport, lambda _: None, backoff=QUICK)
    error = capsys.readouterr().err
    assert status == 1
    assert f"the proxy {proxy} (HTTP_PROXY)" in error
    assert "s3cret" not in error


async def test_doctor_names_a_proxy_that_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with listening(refuse) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        url = service_url("http://service.test/")
        trials = await examine(url, 1.0, overtime=5.0, late=0.1)
    for trial in trials:
        finding = judge(trial, trials)
        assert not finding.works
        assert f"the proxy http://127.0.0.1:{port} (HTTP_PROXY)" in finding.summary
