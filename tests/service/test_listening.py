"""Where the command listens: addresses, a Unix socket, TLS (PROTOCOL.md section 8)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from ..listening.pems import Pems
from ..redis_server import RedisServer
from .api_keys import KeysFile, authorization
from .running import COMMAND, eventually, launch, said
from .test_workers import pids

pytestmark = pytest.mark.any_store

RUNNING = "chatsvc is running on "
WORKERS = pytest.mark.parametrize("workers", [False, True], ids=["one", "workers"])


class Service(NamedTuple):
    """The command, and the places where it says that it is."""

    process: asyncio.subprocess.Process
    places: list[str]

    @property
    def port(self) -> int:
        return int(self.places[0].rpartition(":")[2])

    async def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """End it; the exit status, and what it said on stderr."""
        self.process.send_signal(number)
        _, errors = await asyncio.wait_for(self.process.communicate(), 20)
        assert self.process.returncode is not None
        return self.process.returncode, errors.decode()

    async def logged(self, words: str) -> str:
        """The next line of the log that has some words."""
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            while words not in (
                line := (await self.process.stderr.readline()).decode()
            ):
                assert line, f"the log ended without {words!r}"
        return line


@asynccontextmanager
async def service(
    *flags: str, count: int = 1, **environment: str
) -> AsyncIterator[Service]:
    """The command, which says that it is in so many places."""
    process = await launch("--drain", "0", "--pace", "0", *flags, **environment)
    try:
        assert process.stdout is not None
        lines = [await said(process) for _ in range(count)]
        assert lines[0].startswith(RUNNING), lines
        assert all(line.startswith("and on ") for line in lines[1:])
        first = lines[0].removeprefix(RUNNING)
        places = [first, *(line.removeprefix("and on ") for line in lines[1:])]
        yield Service(process, places)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
def shared(workers: bool, redis_server: RedisServer) -> tuple[str, ...]:
    """The flags for one process, or for two."""
    if not workers:
        return ()
    return ("--workers", "2", "--store", redis_server.database(3))


async def reply(
    url: str,
    connector: aiohttp.BaseConnector | None = None,
    tls: ssl.SSLContext | bool = True,
) -> str:
    """The text of a reply, over a connection of its own."""
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(
            f"{url}/api/chat",
            json={"message": "hi"},
            headers={"Accept": "text/plain"},
            ssl=tls,
        ) as response,
    ):
        assert response.status == 200, await response.text()
        return await response.text()


async def refused(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """The exit status and the one line of a command that does not start."""
    out, errors = await asyncio.wait_for(process.communicate(), 20)
    assert out == b""
    (line,) = errors.decode().splitlines()
    return process.returncode, line


# ------------------------------------------------------------------ addresses


@WORKERS
@pytest.mark.parametrize(
    ("hosts", "wanted"),
    [
        (("::",), ["[::]", "0.0.0.0"]),
        (("",), ["0.0.0.0", "[::]"]),
        (("127.0.0.1", "::1"), ["127.0.0.1", "[::1]"]),
        (("::1", "127.0.0.1"), ["[::1]", "127.0.0.1"]),
    ],
)
@pytest.mark.sampled
async def test_all_addresses_serve_on_one_port(
    hosts: tuple[str, ...], wanted: list[str], shared: tuple[str, ...]
) -> None:
    flags = [word for host in hosts for word in ("--host", host)]
    async with service(*flags, "--port", "0", "--open", *shared, count=2) as found:
        assert found.places == [f"http://{each}:{found.port}" for each in wanted]
        for host in ("127.0.0.1", "[::1]"):
            for _ in range(4):
                assert await reply(f"http://{host}:{found.port}") == "hi"
        assert (await found.end())[0] == 0


async def test_a_variable_has_several_addresses_and_the_metrics_come_last() -> None:
    flags = ("--port", "0", "--admin-port", "0")
    async with service(*flags, count=2, CHATSVC_HOST="127.0.0.1,::1") as found:
        assert found.places[1] == f"http://[::1]:{found.port}"
        assert found.process.stdout is not None
        line = (await found.process.stdout.readline()).decode()
        assert line.startswith("its metrics are on http://127.0.0.1:")


@WORKERS
@pytest.mark.sampled
async def test_an_address_that_is_taken_is_said_in_one_line(
    shared: tuple[str, ...],
) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = str(taken.getsockname()[1])
        flags = ("--host", "127.0.0.1", "--host", "::1", "--port", port)
        status, line = await refused(await launch(*flags, *shared))
    assert status == 1
    assert line == f"chatsvc: can't listen on [::1]:{port}: Address already in use"


@WORKERS
@pytest.mark.sampled
async def test_a_reason_is_one_line_whatever_the_flags_hold(
    tmp_path: Path, shared: tuple[str, ...]
) -> None:
    path = tmp_path / "a\nb" / "s.sock"
    status, line = await refused(await launch("--uds", str(path), *shared))
    assert status == 1
    where = str(path).replace("\n", " ")
    assert line == f"chatsvc: can't listen on unix:{where}: No such file or directory"


# ---------------------------------------------------------------- Unix socket


def unix(path: Path) -> aiohttp.UnixConnector:
    return aiohttp.UnixConnector(str(path))


@WORKERS
@pytest.mark.sampled
async def test_a_unix_socket_serves_alone_until_the_end(
    tmp_path: Path, shared: tuple[str, ...]
) -> None:
    path = tmp_path / "chatsvc.sock"
    async with service("--uds", str(path), *shared) as found:
        assert found.places == [f"unix:{path}"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        for _ in range(4):
            assert await reply("http://localhost", unix(path)) == "hi"
        async with (
            aiohttp.ClientSession(connector=unix(path)) as session,
            session.ws_connect("http://any.example/ws/chat") as ws,
        ):
            await ws.close()
        # Another one is refused, and leaves the first its file.
        status, line = await refused(await launch("--uds", str(path), *shared))
        assert status == 1
        assert line == f"chatsvc: can't listen on unix:{path}: Address already in use"
        assert await reply("http://localhost", unix(path)) == "hi"
        assert (await found.end())[0] == 0
    assert not path.exists()


async def test_a_unix_socket_beside_an_address(tmp_path: Path) -> None:
    path = tmp_path / "chatsvc.sock"
    flags = ("--host", "127.0.0.1", "--port", "0", "--uds", str(path))
    async with service(*flags, "--uds-mode", "600", count=2) as found:
        assert found.places == [f"http://127.0.0.1:{found.port}", f"unix:{path}"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await reply(found.places[0]) == "hi"
        assert await reply("http://localhost", unix(path)) == "hi"


@WORKERS
@pytest.mark.sampled
async def test_a_file_that_was_left_behind_is_replaced(
    tmp_path: Path, shared: tuple[str, ...]
) -> None:
    path = tmp_path / "chatsvc.sock"
    async with service("--uds", str(path), *shared) as first:
        first.process.kill()
        await first.process.wait()
        assert path.is_socket()
        async with asyncio.timeout(20):  # workers see a little later that it is gone
            while True:
                process = await launch("--uds", str(path), "--drain", "0", *shared)
                assert process.stdout is not None
                line = (await process.stdout.readline()).decode()
                if line:
                    break
                await process.communicate()
    try:
        assert line == f"{RUNNING}unix:{path}\n"
        assert await reply("http://localhost", unix(path)) == "hi"
        process.terminate()
        await asyncio.wait_for(process.communicate(), 20)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert not path.exists()


async def test_the_second_signal_leaves_no_file_either(tmp_path: Path) -> None:
    path = tmp_path / "chatsvc.sock"
    async with service("--uds", str(path), "--pace", "1", "--drain", "60") as found:
        async with (
            aiohttp.ClientSession(connector=unix(path)) as session,
            session.post("http://localhost/api/chat", json={"message": "xxx"}),
        ):
            found.process.terminate()
            await found.logged("draining")
            status, _ = await found.end()
        assert status == 1
    assert not path.exists()


@pytest.mark.sampled
@pytest.mark.parametrize("transport", ["auto", "websocket", "text"])
async def test_ask_comes_by_the_unix_socket(transport: str, tmp_path: Path) -> None:
    path = tmp_path / "chatsvc.sock"
    words = ("ask", "--transport", transport, "hi")
    # A proxy of the environment has nothing to do with it.
    proxy = {"HTTP_PROXY": "http://127.0.0.1:1"}
    elsewhere = {"CHATSVC_URL": "http://chat.example", **proxy}
    async with service("--uds", str(path)):
        found = await run(*words, CHATSVC_UDS=str(path), **elsewhere)
        assert found == (0, "hi", "")
        found = await run(*words, "--uds", str(path))
        assert found == (0, "hi", "")
    path.unlink()
    status, out, line = await run(*words, "--uds", str(path), **elsewhere)
    assert (status, out) == (1, "")
    assert f"can't reach unix:{path}: No such file or directory\n" in line


async def test_doctor_comes_by_the_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "chatsvc.sock"
    words = ("doctor", "--seconds", "1", "--uds", str(path), "http://chat.example")
    async with service("--uds", str(path), "--pace", "0.1"):
        status, out, errors = await run(*words)
        assert (status, out.count(" works"), errors) == (0, 6, "")


async def test_a_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("text")
    status, line = await refused(await launch("--uds", str(path)))
    assert status == 1
    assert line.endswith("a file is there that is no socket")
    assert path.read_text() == "text"


async def test_over_a_unix_socket_proxies_are_believed_where_they_are_trusted(
    tmp_path: Path,
) -> None:
    path = tmp_path / "chatsvc.sock"
    flags = ("--uds", str(path), "--trusted-proxy", "unix", "--log-format", "json")
    async with service(*flags) as found:
        async with aiohttp.ClientSession(connector=unix(path)) as session:
            headers = {"X-Forwarded-For": "192.0.2.7"}
            url = "http://chat.example/healthz"
            async with session.get(url, headers=headers) as response:
                assert response.status == 200
            async with session.get(url.replace("healthz", "nowhere"), headers=headers):
                pass
        await found.logged("192.0.2.7")


# ------------------------------------------------------------------------ TLS


@pytest.fixture
def pems(tmp_path: Path) -> Pems:
    return Pems(tmp_path)


def certificate(port: int, pems: Pems) -> bytes:
    """The certificate that a new connection is shown."""
    context = ssl.create_default_context(cafile=pems.ca)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        found = wrapped.getpeercert(binary_form=True)
        assert found is not None
        return found


@WORKERS
async def test_a_hangup_exchanges_the_certificate_and_no_connection_ends(
    pems: Pems, shared: tuple[str, ...]
) -> None:
    context = ssl.create_default_context(cafile=pems.ca)
    flags = ("--host", "127.0.0.1", "--port", "0", "--pace", "0.02", *pems.flags)
    async with service(*flags, *shared) as found:
        assert found.places[0].startswith("https://127.0.0.1:")
        url = f"https://localhost:{found.port}"
        async with aiohttp.ClientSession() as session:
            body = {"message": "x" * 5000}
            headers = {"Accept": "text/plain"}
            async with session.post(
                f"{url}/api/chat", json=body, headers=headers, ssl=context
            ) as answer:
                assert await answer.content.readexactly(1) == b"x"
                first = certificate(found.port, pems)
                pems.renew(key=False)
                found.process.send_signal(signal.SIGHUP)
                line = await found.logged("ERROR")
                assert "the private key is not that of the certificate" in line
                assert certificate(found.port, pems) == first
                pems.renew(rsa=True)
                found.process.send_signal(signal.SIGHUP)
                # Nothing between: a broken pair is one line, also with workers.
                assert found.process.stderr is not None
                lines = [await found.logged(" chatsvc ")]
                assert "the certificate has been read again" in lines[0]
                # Each connection may come to another worker.
                async with asyncio.timeout(20):
                    row = 0
                    while row < 8:
                        now = await asyncio.to_thread(certificate, found.port, pems)
                        row = row + 1 if now != first else 0
                assert await answer.content.readexactly(2) == b"xx"
        status, errors = await found.end()
        assert status == 0
        assert "ERROR" not in errors


async def test_of_two_files_one_may_be_broken_and_that_is_said_once(
    pems: Pems, tmp_path: Path, redis_server: RedisServer
) -> None:
    context = ssl.create_default_context(cafile=pems.ca)
    file = KeysFile(tmp_path, "alice")
    keys = ("--api-keys-file", str(file.path), "--store", redis_server.database(3))
    flags = ("--host", "127.0.0.1", "--port", "0", *pems.flags, "--workers", "2")
    async with service(*flags, *keys) as found:
        url = f"https://localhost:{found.port}/"
        headers = authorization("bob")

        async def status() -> int:
            async with (
                aiohttp.ClientSession() as session,
                session.get(url, headers=headers, ssl=context) as answer,
            ):
                return answer.status

        assert await status() == 401
        file.has("bob")
        pems.renew(key=False)
        found.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(20):
            row = 0
            while row < 8:
                row = row + 1 if await status() == 200 else 0
        ended, errors = await found.end()
    assert ended == 0
    assert errors.count(" ERROR ") == 1
    assert errors.count("API keys: 1, of users: 1") == 2


@pytest.mark.thorough
async def test_workers_that_are_started_again_have_the_certificate_that_is_good(
    pems: Pems, redis_server: RedisServer
) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("there is no /proc")
    flags = ("--host", "127.0.0.1", "--port", "0", *pems.flags, "--workers", "2")
    async with service(*flags, "--store", redis_server.database(3)) as found:
        first = certificate(found.port, pems)
        pems.renew(key=False)
        old = pids(found)  # type: ignore[arg-type]
        for pid in old:
            os.kill(pid, signal.SIGKILL)

        def are_new() -> bool:
            now = pids(found)  # type: ignore[arg-type]
            return len(now) == 2 and not set(old) & set(now)

        await eventually(are_new, 20)
        async with asyncio.timeout(20):
            while True:
                try:
                    now = await asyncio.to_thread(certificate, found.port, pems)
                    break
                except OSError:
                    await asyncio.sleep(0.01)
        assert now == first


async def test_a_browser_is_signed_in_by_a_cookie_for_https_alone(pems: Pems) -> None:
    context = ssl.create_default_context(cafile=pems.ca)
    key = "a-key-of-anna-0001"
    flags = ("--host", "127.0.0.1", "--port", "0", *pems.flags)
    async with (
        service(*flags, CHATSVC_API_KEYS=key) as found,
        aiohttp.ClientSession() as session,
    ):
        url = f"https://localhost:{found.port}"
        async with session.post(
            f"{url}/login",
            data={"key": key, "next": ""},
            headers={"Origin": url},
            allow_redirects=False,
            ssl=context,
        ) as answer:
            cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-chatsvc=")
        assert "Secure" in cookie
        # A page of the same name over plain http is none of the service's own.
        plain = {"Origin": url.replace("https", "http")}
        async with session.post(
            f"{url}/api/chat", json={"message": "x"}, headers=plain, ssl=context
        ) as answer:
            assert answer.status == 403


async def run(*words: str, **environment: str) -> tuple[int | None, str, str]:
    """Run another command to its end."""
    process = await launch(*words, command=COMMAND, **environment)
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode(), errors.decode()


async def test_ask_and_doctor_come_by_tls(pems: Pems) -> None:
    flags = ("--host", "127.0.0.1", "--port", "0", *pems.flags)
    async with service(*flags) as found:
        url = f"https://localhost:{found.port}"
        trusting = {"SSL_CERT_FILE": str(pems.ca)}
        assert await run("ask", "--url", url, "hi", **trusting) == (0, "hi", "")
        status, out, _ = await run("doctor", "--seconds", "1", url, **trusting)
        assert (status, out.count(" works")) == (0, 6)
        status, out, line = await run("ask", "--url", url, "hi")
        assert (status, out) == (1, "")
        assert "the certificate of localhost:" in line
        assert "is not trusted" in line
        assert "SSL_CERT_FILE" in line


async def test_ask_says_it_where_there_is_no_tls() -> None:
    async with service("--port", "0") as found:
        url = f"https://127.0.0.1:{found.port}"
        status, _, line = await run("ask", "--url", url, "hi")
        assert status == 1
        assert f"no TLS with 127.0.0.1:{found.port}: " in line


async def test_a_client_that_speaks_no_tls_is_cut_off(pems: Pems) -> None:
    flags = ("--host", "127.0.0.1", "--port", "0", *pems.flags)
    async with service(*flags) as found:
        reader, writer = await asyncio.open_connection("127.0.0.1", found.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            assert b"HTTP/1.1 200" not in await asyncio.wait_for(reader.read(), 20)
        except ConnectionResetError:
            pass
        writer.close()
        assert await reply(
            f"https://localhost:{found.port}",
            tls=ssl.create_default_context(cafile=pems.ca),
        )
        _, errors = await found.end()
        assert "Traceback" not in errors


@WORKERS
@pytest.mark.parametrize("broken", ["missing", "mismatch"])
@pytest.mark.sampled
async def test_a_certificate_that_cannot_be_used_is_said_in_one_line(
    broken: str, pems: Pems, shared: tuple[str, ...]
) -> None:
    if broken == "missing":
        pems.key.unlink()
    else:
        pems.renew(key=False)
    status, line = await refused(await launch("--port", "0", *pems.flags, *shared))
    assert status == 2
    assert line.startswith("chatsvc: --ssl-")


async def test_tls_is_for_addresses_and_not_for_the_unix_socket(
    pems: Pems, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    uds = ("--uds", str(path), *pems.flags)
    status, line = await refused(await launch(*uds))
    assert (status, line.startswith("chatsvc: --ssl-certfile needs a --host")) == (
        2,
        True,
    )
    flags = ("--host", "127.0.0.1", "--port", "0", "--admin-port", "0", *uds)
    async with service(*flags, count=2) as found:
        assert found.places[0].startswith("https://")
        assert await reply("http://localhost", unix(path)) == "hi"
        assert found.process.stdout is not None
        line = (await found.process.stdout.readline()).decode()
        assert line.startswith("its metrics are on http://127.0.0.1:")


async def test_warnings_of_unknown_variables_are_logged_once(
    redis_server: RedisServer,
) -> None:
    flags = ("--port", "0", "--log-format", "json", "--workers", "2")
    environment: dict[str, Any] = {
        "CHATSVC_MAX_REPLIS": "1",
        "CHATSVC_PORT": "tcp://10.0.0.1:8000",
        "CHATSVC_SERVICE_HOST": "10.0.0.1",
    }
    redis = ("--store", redis_server.database(3))
    async with service(*flags, *redis, **environment) as found:
        status, errors = await found.end()
    assert status == 0
    said = [json.loads(line) for line in errors.splitlines() if "CHATSVC" in line]
    [warning] = said
    assert warning["level"] == "warning"
    assert warning["message"].endswith("did you mean CHATSVC_MAX_REPLIES?")
