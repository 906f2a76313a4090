"""Behind trusted proxies each client is known by its own address (PROTOCOL.md section 2)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from chatsvc.app import create_app
from chatsvc.settings import BadSetting, Settings, read_settings
from chatsvc.users.identity import STRANGER, Identity
from chatsvc.web.forwarded import MAX_HOPS
from chatsvc.web.identification import account_of
from chatsvc.web.proxies import TrustedProxies

from .running import Inside, Scripted, child, inside
from .test_keys import person
from .test_rendered import HTML, watched

XFF = "X-Forwarded-For"
HERE = Settings(pace=0, trusted_proxy=("127.0.0.1",))
ANN, BOB = f"{XFF}: 192.0.2.1", f"{XFF}: 192.0.2.2"
BODY = b'{"message": "a"}'


def request_from(peer: str, headers: Iterable[tuple[str, str]] = ()) -> web.Request:
    """A request over a connection from `peer`, with headers."""
    fields = CIMultiDict(headers)
    request: web.Request = make_mocked_request("GET", "/", headers=fields)
    return request.clone(remote=peer)


def client(networks: Iterable[str], peer: str, *headers: tuple[str, str]) -> str:
    """The client's address of such a request, to a service that trusts some networks."""
    return TrustedProxies(networks).client_address(request_from(peer, headers))


@pytest.mark.parametrize(
    ("networks", "peer", "headers", "address"),
    [
        # The other end of the connection, whatever it says.
        ((), "192.0.2.9", (), "192.0.2.9"),
        ((), "192.0.2.9", ((XFF, "192.0.2.1"),), "192.0.2.9"),
        ((), "2001:db8:0::9", (), "2001:db8::9"),
        ((), "::ffff:192.0.2.9", (), "192.0.2.9"),
        ((), "fe80::9%eth0", (), "fe80::9"),
        ((), "", ((XFF, "192.0.2.1"),), ""),
        (("10.0.0.0/8",), "192.0.2.9", ((XFF, "10.0.0.1"),), "192.0.2.9"),
        # A trusted proxy.
        (("10.0.0.0/8",), "10.0.0.1", (), "10.0.0.1"),
        (("10.0.0.0/8",), "10.0.0.1", ((XFF, ""),), "10.0.0.1"),
        (("10.0.0.0/8",), "10.0.0.1", ((XFF, "192.0.2.1"),), "192.0.2.1"),
        (("10.0.0.0/8",), "::ffff:10.0.0.1", ((XFF, "192.0.2.1:80"),), "192.0.2.1"),
        (("::ffff:10.0.0.0/104",), "10.0.0.1", ((XFF, "192.0.2.1"),), "192.0.2.1"),
        (("2001:db8::/32",), "2001:db8::1", ((XFF, "::ffff:192.0.2.1"),), "192.0.2.1"),
        (
            *(("10.0.0.0/8",), "10.0.0.1"),
            (("Forwarded", 'for="[2001:db8::7]:1"'),),
            "2001:db8::7",
        ),
        # Chains of them, and what a client has put before.
        (("10.0.0.0/8",), "10.0.0.1", ((XFF, "1.1.1.1, 192.0.2.1"),), "192.0.2.1"),
        (
            *(("10.0.0.0/8",), "10.0.0.1"),
            ((XFF, "1.1.1.1, 192.0.2.1, 10.9.9.9, 10.0.0.2"),),
            "192.0.2.1",
        ),
        (
            *(("10.0.0.0/8",), "10.0.0.1"),
            ((XFF, "1.1.1.1"), (XFF, "192.0.2.1"), (XFF, "10.0.0.2")),
            "192.0.2.1",
        ),
        (
            *(("10.0.0.0/8",), "10.0.0.1"),
            (("Forwarded", 'for="1.1.1.1'), ("Forwarded", "for=192.0.2.1")),
            "192.0.2.1",
        ),
        # A client within the trusted networks.
        (("10.0.0.0/8",), "10.0.0.1", ((XFF, "10.0.0.7, 10.0.0.2"),), "10.0.0.7"),
        (("0.0.0.0/0",), "10.0.0.1", ((XFF, "10.0.0.1," * 99),), "10.0.0.1"),
        # A proxy that names nobody: what stands before is nobody's word.
        (("10.0.0.0/8",), "10.0.0.1", ((XFF, "192.0.2.1, unknown"),), "10.0.0.1"),
        (
            *(("10.0.0.0/8",), "10.0.0.1"),
            (("Forwarded", "for=192.0.2.1, for=_hidden, for=10.0.0.2"),),
            "10.0.0.2",
        ),
        # Both headers: one of them may be the client's own.
        (
            *(("10.0.0.0/8",), "10.0.0.1"),
            ((XFF, "192.0.2.1"), ("Forwarded", "for=192.0.2.1")),
            "192.0.2.1",
        ),
        (
            *(("10.0.0.0/8",), "10.0.0.1"),
            ((XFF, "192.0.2.1"), ("Forwarded", "for=192.0.2.2")),
            "10.0.0.1",
        ),
        (
            *(("10.0.0.0/8",), "10.0.0.1"),
            ((XFF, "192.0.2.1"), ("Forwarded", "rubbish")),
            "10.0.0.1",
        ),
        (
            *(("10.0.0.0/8",), "10.0.0.1"),
            ((XFF, "192.0.2.1"), ("Forwarded", " ")),
            "192.0.2.1",
        ),
        # Unix sockets have no address.
        (("10.0.0.0/8",), "", ((XFF, "192.0.2.1"),), ""),
        (("unix",), "", ((XFF, "192.0.2.1"),), "192.0.2.1"),
        (("unix",), "/run/nginx.sock", ((XFF, "192.0.2.1"),), "192.0.2.1"),
        (("unix",), "", (), ""),
        (("unix",), "192.0.2.9", ((XFF, "192.0.2.1"),), "192.0.2.9"),
        (("unix", "10.0.0.0/8"), "", ((XFF, "192.0.2.1, 10.0.0.1"),), "192.0.2.1"),
    ],
)
def test_the_address_of_a_client(
    networks: tuple[str, ...],
    peer: str,
    headers: tuple[tuple[str, str], ...],
    address: str,
) -> None:
    assert client(networks, peer, *headers) == address


TEXTS = st.text(
    st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=40
)


@given(
    left=TEXTS | st.from_regex(r"(10\.0\.0\.\d, ?){0,20}", fullmatch=True),
    hops=st.lists(st.ip_addresses(network="10.0.0.0/8"), max_size=MAX_HOPS - 1),
)
def test_whatever_a_client_sends_its_address_is_what_the_proxy_saw(
    left: str, hops: list[object]
) -> None:
    nodes = ["192.0.2.1", *map(str, hops)]
    found = client(("10.0.0.0/8",), "10.0.0.1", (XFF, ", ".join([left, *nodes])))
    assert found == "192.0.2.1"
    told = ", ".join([left, *(f"for={node}" for node in nodes)])
    assert client(("10.0.0.0/8",), "10.0.0.1", ("Forwarded", told)) == "192.0.2.1"


@given(peer=TEXTS, headers=st.dictionaries(st.sampled_from([XFF, "Forwarded"]), TEXTS))
def test_nothing_that_comes_from_elsewhere_is_believed(
    peer: str, headers: dict[str, str]
) -> None:
    trusted = ("10.0.0.0/8",)
    assert client(trusted, "192.0.2.9", *headers.items()) == "192.0.2.9"
    assert isinstance(client(("unix",), peer, *headers.items()), str)


def test_use_is_counted_by_what_one_client_has() -> None:
    def account(address: str) -> str:
        return account_of(STRANGER, address)

    assert account("192.0.2.1") != account("192.0.2.2")
    assert account("2001:db8::1") == account("2001:db8:0:0:ffff::2")
    assert account("2001:db8::1") != account("2001:db8:0:1::1")
    assert account("::ffff:192.0.2.1") == account("192.0.2.1")
    assert account("") == "address:"
    assert account_of(Identity("192.0.2.1"), "192.0.2.1") != account("192.0.2.1")


def said(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What is logged about proxies; that a busy machine holds the event loop is logged, too."""
    return [record for record in caplog.records if record.module == "proxies"]


@asynccontextmanager
async def held(settings: Settings) -> AsyncIterator[Inside]:
    """A service whose replies do not end by themselves, with one for each client."""
    counting = Settings(**{**vars(settings), "max_per_client": 1, "grace": 60})
    async with inside(counting, backend=Scripted("ab", asyncio.Event())) as chat:
        yield chat


async def begin(chat: Inside, *headers: str) -> int:
    """Begin a reply; the status of the answer, which does not wait for its text."""
    asks = ("Accept: application/json", *headers)
    answer = await chat.raw("POST /api/chat?wait=0", *asks, body=BODY)
    return answer.status


@pytest.mark.any_store
async def test_clients_of_a_proxy_are_counted_apart() -> None:
    async with held(HERE) as chat:

        async def start(*headers: str) -> int:
            return await begin(chat, *headers)

        assert await start(ANN) == 200
        assert await start(ANN) == 429
        assert await start(f"{XFF}: 198.51.100.9, 192.0.2.1") == 429
        assert await start(f"{XFF}: ::ffff:192.0.2.1") == 429
        assert await start("Forwarded: for=192.0.2.1") == 429
        assert await start(BOB) == 200
        assert await start(f"{XFF}: 2001:db8::1") == 200
        assert await start(f"{XFF}: 2001:db8::2:1") == 429
        assert await start(f"{XFF}: 2001:db8:0:1::1") == 200
        # Who forges the other header shares the proxy's own count.
        assert await start(ANN, "Forwarded: for=198.51.100.1") == 200
        assert await start(ANN, "Forwarded: for=198.51.100.2") == 429
        assert await start() == 429


@pytest.mark.any_store
async def test_a_websocket_is_its_clients_too() -> None:
    async with held(HERE) as chat:
        for address in ("192.0.2.1", "192.0.2.2"):
            url, headers = f"{chat.url}/ws/chat", {XFF: address}
            async with chat.session.ws_connect(url, headers=headers) as ws:
                await ws.send_json({"message": "a"})
                assert (await ws.receive(10)).data == "a"
                assert await begin(chat, f"{XFF}: {address}") == 429


@pytest.mark.any_store
async def test_who_is_not_trusted_is_counted_by_its_own_address() -> None:
    async with held(Settings(pace=0, trusted_proxy=("127.0.0.2",))) as chat:
        for header, status in ((ANN, 200), (BOB, 429)):
            assert await begin(chat, header) == status


@pytest.mark.any_store
async def test_a_strangers_short_key_is_known_behind_the_proxy_at_its_own_address() -> (
    None
):
    async with inside(HERE) as chat:

        async def start(header: str) -> str:
            key = "Idempotency-Key: short"
            answer = await chat.raw("POST /api/chat", header, key, body=BODY)
            return answer.reply

        first = await start(ANN)
        assert await start(ANN) == first
        assert await start(BOB) != first


@pytest.mark.any_store
async def test_the_access_log_has_the_clients_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "chatsvc.access")
    async with inside(HERE, access=True) as chat:
        for line, header in (
            ("GET /static/x", ANN),
            ("GET /nowhere", f"{XFF}: 2001:db8::1"),
            ("POST /api/chat", "Forwarded: for=192.0.2.3"),
            ("GET /static/x", "X-Other: a"),
        ):
            await chat.raw(line, header, body=BODY)
    logged = [
        record.__dict__["data"]["client"]
        for record in caplog.records
        if record.name == "chatsvc.access"
    ]
    assert logged == ["192.0.2.1", "2001:db8::1", "192.0.2.3", "127.0.0.1"]


@pytest.mark.any_store
async def test_the_clients_of_a_proxy_take_turns_at_the_renderer(
    tmp_path: Path,
) -> None:
    async with watched(tmp_path, settings=HERE) as (chat, renderer):
        poison = [await chat.start(f"slow {n}") for n in range(20)]
        innocent = await chat.start("# hello")
        for reply in (poison[-1], innocent):
            await chat.read(reply)
        attack = [
            asyncio.create_task(chat.raw(f"GET /api/chat/{reply}", HTML, ANN))
            for reply in poison
        ]
        async with asyncio.timeout(10):
            while len(renderer.asked()) < 2:
                await asyncio.sleep(0.005)
        page = await chat.raw(f"GET /api/chat/{innocent}", HTML, BOB)
        assert renderer.asked().index("# hello") <= 4
        assert page.status == 200
        await asyncio.gather(*attack)


@pytest.mark.parametrize("header", [XFF, "Forwarded"])
@pytest.mark.any_store
async def test_the_first_request_of_a_proxy_that_is_not_trusted_is_a_warning(
    header: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with inside(Settings(pace=0)) as chat:
        await chat.raw("GET /healthz")
        assert not said(caplog)
        for _ in range(3):
            await chat.raw("GET /healthz", f"{header}: for=192.0.2.1")
        async with person("127.0.0.2") as other:
            other.headers[XFF] = "192.0.2.1"
            await other.post(chat, "key")
    [record] = said(caplog)
    assert record.levelno == logging.WARNING
    words = record.getMessage()
    assert header in words
    assert "--trusted-proxy 127.0.0.1 " in words
    assert "192.0.2.1" not in words  # what a client writes stays out of the log


async def test_the_command_warns_once() -> None:
    async with child("--log-format", "json") as chat:
        for _ in range(2):
            await chat.raw("GET /", ANN)
        await chat.terminate()
        _, errors = await chat.ended()
    assert errors.count("--trusted-proxy 127.0.0.1 ") == 1


@pytest.mark.any_store
async def test_headers_that_contradict_each_other_are_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with inside(HERE) as chat:
        for _ in range(2):
            await chat.raw("GET /healthz", ANN, "Forwarded: for=192.0.2.1")
        assert not said(caplog)
        for _ in range(2):
            await chat.raw("GET /healthz", ANN, "Forwarded: for=192.0.2.2")
    [record] = said(caplog)
    assert record.levelno == logging.WARNING
    assert f"{XFF} and Forwarded" in record.getMessage()


@pytest.mark.any_store
async def test_an_address_is_found_out_once_for_each_request() -> None:
    proxies = TrustedProxies(("10.0.0.0/8",))
    request = request_from("10.0.0.1", [(XFF, "192.0.2.1")])
    assert proxies.client_address(request) == "192.0.2.1"
    other = TrustedProxies(())
    assert other.client_address(request) == "192.0.2.1"


@pytest.mark.any_store
@pytest.mark.parametrize("trusted", [(), ("unix",)])
async def test_behind_a_unix_socket(tmp_path: Path, trusted: tuple[str, ...]) -> None:
    """The other end is trusted where that is said, as it is to nginx and Caddy."""
    settings = Settings(pace=0, drain=0, max_per_client=1, trusted_proxy=trusted)
    backend = Scripted("a", asyncio.Event())
    app = create_app(settings, backend=backend)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    path = str(tmp_path / "socket")
    await web.UnixSite(runner, path).start()
    try:
        connector = aiohttp.UnixConnector(path)
        async with aiohttp.ClientSession(connector=connector) as session:
            statuses = []
            for address in ("192.0.2.1", "192.0.2.2"):
                async with session.post(
                    "http://localhost/api/chat?wait=0",
                    json={"message": "a"},
                    headers={XFF: address},
                ) as answer:
                    statuses.append(answer.status)
        assert statuses == ([200, 200] if trusted else [200, 429])
    finally:
        await runner.cleanup()


def test_a_network_may_be_that_of_unix_sockets() -> None:
    flags = {"trusted_proxy": ("unix", "::ffff:10.0.0.0/104")}
    settings = read_settings(Settings, flags, {})
    assert settings.trusted_proxy == ("unix", "10.0.0.0/8")
    with pytest.raises(BadSetting, match=r"--trusted-proxy takes .* or unix, not"):
        read_settings(Settings, {"trusted_proxy": ("unix:",)}, {})


def test_many_addresses_of_trusted_proxies_cost_little() -> None:
    header = "10.0.0.1, " * 6000
    began = time.process_time()
    for _ in range(20):
        client(("10.0.0.0/8",), "10.0.0.1", (XFF, header), ("Forwarded", header))
    assert time.process_time() - began < 1
