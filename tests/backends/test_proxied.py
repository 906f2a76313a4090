"""A model's server behind a proxy from the environment; one on the loopback has none."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from chatsvc.backends.openai import OpenAIBackend
from chatsvc.model import Finish
from chatsvc.problems import BackendFailed
from tests.backends.asking import PROMPT, asked
from tests.loopback import free_port, listening
from tests.scripted_upstream import DONE, Upstream, chunk, head

ANSWER = [head(), chunk("a"), chunk(None, finish_reason="stop"), DONE]


@pytest.fixture(autouse=True)
def no_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


async def read(url: str, key: str = "") -> tuple[str, BackendFailed | None]:
    """Return the text of an answer and the failure."""
    backend = OpenAIBackend(url, key=key, first_backoff=0.0)
    text, failure = "", None
    try:
        async with aclosing(backend.stream(PROMPT)) as pieces:
            async for piece in pieces:
                text += piece if isinstance(piece, str) else ""
    except BackendFailed as error:
        failure = error
    await backend.close()
    return text, failure


async def test_the_loopback_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    upstream = Upstream(ANSWER)
    assert await asked(upstream) == ("a", Finish("stop"), "")
    assert upstream.heads[0].startswith("POST /v1/chat/completions HTTP/1.1")


async def test_another_host_is_asked_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy = Upstream(ANSWER)
    async with proxy.running() as url:
        monkeypatch.setenv(
            "HTTP_PROXY", url.removesuffix("/v1").replace("//", "//u:p@")
        )
        assert await read("http://model.test/v1", "s3cret") == ("a", None)
    [request] = proxy.heads
    assert request.startswith("POST http://model.test/v1/chat/completions HTTP/1.1\r\n")
    assert "Host: model.test\r\n" in request
    assert "Authorization: Bearer s3cret\r\n" in request
    assert "Proxy-Authorization: Basic dTpw\r\n" in request


async def test_https_goes_through_a_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy refuses it, so no certificate is needed here."""
    lines: list[bytes] = []

    async def refuse(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        lines.append(await reader.readline())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with listening(refuse) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        text, failure = await read("https://model.test/v1")
    assert lines[0] == b"CONNECT model.test:443 HTTP/1.1\r\n"
    assert text == "" and failure is not None
    assert failure.detail == (
        "The model's server can't be reached through the proxy that HTTPS_PROXY names."
    )


async def test_a_proxy_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Users learn of the variable, the log also of the host, nobody of the password."""
    port = free_port()
    monkeypatch.setenv("HTTP_PROXY", f"http://u:s3cret@127.0.0.1:{port}")
    _, failure = await read("http://model.test/v1")
    assert failure is not None
    assert failure.detail == (
        "The model's server can't be reached through the proxy that HTTP_PROXY names."
    )
    assert f"the proxy http://127.0.0.1:{port} (HTTP_PROXY)" in failure.words
    assert "s3cret" not in failure.words + failure.detail


async def test_passwords_in_the_url_and_in_netrc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = Upstream(ANSWER)
    async with upstream.running() as url:
        assert await read(url.replace("//", "//u:p@")) == ("a", None)
        file = tmp_path / "netrc"
        file.write_text("machine 127.0.0.1 login u password p\n")
        file.chmod(0o600)
        assert await read(url) == ("a", None)
        assert await read(url, "s3cret") == ("a", None)  # a key wins
    fields = [request.partition("Authorization: ")[2] for request in upstream.heads]
    assert [field.partition("\r\n")[0] for field in fields] == [
        "Basic dTpw",
        "Basic dTpw",
        "Bearer s3cret",
    ]
    assert "u:p@" not in "".join(upstream.heads)
