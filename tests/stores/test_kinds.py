"""The store in Redis over TLS, behind Sentinel and in a Cluster, all real; and masters that are taken over from."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from chatsvc.client_limits import StartLimits
from chatsvc.kept_prompt import keep
from chatsvc.log import Log
from chatsvc.model import End, Prompt
from chatsvc.problem import Problem
from chatsvc.problems import Overloaded, StoreUnavailable, TooManyRequests
from chatsvc.stores.base import Record
from chatsvc.stores.redis import RedisStore
from chatsvc.stores.redis.connect import disconnect
from chatsvc.units import Mark, PartText, Unit
from tests.conftest import require

from .contract import StoreContract, begin
from .kinds import RedisCluster, Sentinels, Tls, TlsServer
from .test_redis import RedisPlace

pytestmark = pytest.mark.thorough

WAIT = 60.0  # seconds: for what must happen, however slow the machine

Kind = TlsServer | Sentinels | RedisCluster


def tls(folder: Path) -> TlsServer:
    return TlsServer(folder, trustme.CA())


def sentinels_by_tls(folder: Path) -> Sentinels:
    return Sentinels(folder, tls=Tls(folder, trustme.CA()))


def cluster_by_tls(folder: Path) -> RedisCluster:
    return RedisCluster(folder, tls=Tls(folder, trustme.CA()))


@pytest.fixture(scope="module", params=[tls, Sentinels, RedisCluster])
def kind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kind]:
    """One of each kind. Sentinels and a Cluster by TLS are in test_rights."""
    require("redis-server")
    kind: Kind = request.param(tmp_path_factory.mktemp("kind"))
    try:
        kind.start()
        yield kind
    finally:
        kind.stop()


class TestEveryKind(StoreContract):
    """The contract."""

    @pytest.fixture
    async def place(self, kind: Kind) -> AsyncIterator[RedisPlace]:
        place = RedisPlace(kind.url)
        await place.client.flushall()
        await place.store.open()
        yield place
        await place.store.close()
        await disconnect(place.client)


@pytest.mark.parametrize("make", [tls, sentinels_by_tls, cluster_by_tls])
async def test_a_certificate_of_another_authority_is_refused(
    make: Callable[[Path], Kind], tmp_path: Path
) -> None:
    require("redis-server")
    kind = make(tmp_path)
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    try:
        kind.start()
        address = kind.url.replace("authority.pem", "stranger.pem")
        with pytest.raises(StoreUnavailable):
            await RedisStore(address, keep=60, patience=0.5).open()
    finally:
        kind.stop()


@pytest.mark.parametrize("make", [sentinels_by_tls, cluster_by_tls])
async def test_nothing_is_plain_in_an_address_with_tls(
    make: Callable[[Path], Kind], tmp_path: Path
) -> None:
    """The plain port behind such an address is one where no TLS is spoken."""
    require("redis-server")
    kind = make(tmp_path)
    try:
        kind.start()
        plain = kind.sentinel if isinstance(kind, Sentinels) else kind.servers[0]
        secure = re.sub(r"127\.0\.0\.1:[0-9]+", f"127.0.0.1:{plain.port}", kind.url)
        with pytest.raises(StoreUnavailable):
            await RedisStore(secure, keep=60, patience=0.5).open()
    finally:
        kind.stop()


@pytest.fixture(
    params=[
        Sentinels,
        lambda folder: RedisCluster(folder, replicas=1),
        sentinels_by_tls,
        lambda folder: RedisCluster(folder, 1, Tls(folder, trustme.CA())),
    ]
)
def failing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """What can lose a master."""
    require("redis-server")
    kind = request.param(tmp_path)
    try:
        kind.start()
        yield kind
    finally:
        kind.stop()


async def test_a_master_that_is_taken_over_from_loses_and_doubles_nothing(
    failing: Sentinels | RedisCluster,
) -> None:
    """Text goes on being written and read; what was acknowledged is there behind it, or the reply ends and says so."""
    a, b = RedisStore(failing.url, keep=60), RedisStore(failing.url, keep=60)
    await a.open()
    await b.open()
    try:
        logs = [await begin(a) for _ in range(12)]
        others = [(await b.find(log.reply_id))[1] for log in logs]
        over = asyncio.Event()
        writing = [asyncio.create_task(_write(a, log, over)) for log in logs]
        async with asyncio.timeout(WAIT):
            while min(log.position for log in others) < 200:
                await asyncio.sleep(0.01)
            if isinstance(failing, RedisCluster):
                for number in range(3):
                    await failing.fail_over(number)
            else:
                await failing.fail_over()
            reached = [log.position for log in others]
            while any(
                log.position < position + 200 and log.end is None
                for log, position in zip(others, reached, strict=True)
            ):
                await asyncio.sleep(0.01)
            over.set()
            written = await asyncio.gather(*writing)
            done = 0
            for log, other, text in zip(logs, others, written, strict=True):
                while other.end is None:
                    await b.refresh(other)
                assert text.startswith(other.text(0))
                found = [unit for _, unit in other.units(0, other.offset)]
                assert found == units_of(text)[: len(found)]
                assert log.end is not None
                if other.end.state == "done":
                    done += 1
                    assert other.text(0) == log.text(0) == text
                else:
                    assert other.end.finish_reason in ("interrupted", "error")
        assert done == 12
    finally:
        await b.close()
        await a.close()


def mark(number: int) -> Mark:
    return Mark(number, "data", {"name": "n", "value": number}, whole=True)


def units_of(text: str) -> list[Unit]:
    """All that `_write` has written with a text."""
    found: list[Unit] = []
    for number, piece in enumerate(text.split(" ")[:-1], 1):
        found += [PartText(0, f"{piece} "), mark(number)]
    return found


async def _write(store: RedisStore, log: Log, over: asyncio.Event) -> str:
    """Number after number, and a mark behind each, until it is over; gives the text that was written."""
    text, number = "", 0
    while not over.is_set():
        piece = f"{number} "
        number += 1
        try:
            await store.append(log, piece)
        except Exception:
            if log.end is None:
                raise
            return text
        text += piece
        try:
            await store.append_side(log, [mark(number)])
        except Exception:
            if log.end is None:
                raise
            return text
        await asyncio.sleep(0.005)
    end = End("done", "stop")
    if log.end is None:
        await store.seal(log, end)
        await store.finish(log, end)
    return text


async def test_limits_hold_for_all_nodes_on_every_kind(kind: Kind) -> None:
    a, b = RedisStore(kind.url, keep=60), RedisStore(kind.url, keep=60)
    place = RedisPlace(kind.url)
    await place.client.flushall()
    try:
        for store in a, b:
            await store.open()
        limits = StartLimits("address:192.0.2.1", running=3, starts=4, in_all=8)

        async def start(store: RedisStore, limits: StartLimits) -> str | Problem:
            reply_id = store.cluster.new_reply_id(limits.account)
            try:
                return await store.create(Record(reply_id, keep(Prompt(()))), limits)
            except Problem as problem:
                return problem

        def limit_of(problem: str | Problem) -> str:
            return problem.limit if isinstance(problem, TooManyRequests) else ""

        results = [await start(store, limits) for store in (a, b) * 3]
        assert [*map(limit_of, results)] == [*("", "", ""), *("running",) * 3]
        _, log = await a.find(str(results[0]))
        await a.finish(log, End("done", "stop"))
        assert [limit_of(await start(each, limits)) for each in (b, a)] == [
            "",
            "running",
        ]
        _, log = await a.find(str(results[2]))
        await a.finish(log, End("done", "stop"))
        assert limit_of(await start(b, limits)) == "starts"
        # What others begin counts in all, in a Cluster some moments later.
        for number in range(6):
            await start(b, StartLimits(f"address:192.0.2.{number}", running=9))
        for store in a, b:
            await store._limits.look()
        full = await start(a, StartLimits("address:192.0.2.99", in_all=8))
        assert isinstance(full, Overloaded)
    finally:
        for store in a, b:
            await store.close()
        await disconnect(place.client)
