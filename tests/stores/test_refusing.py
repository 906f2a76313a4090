"""A real Redis that answers and does nothing: it is full, a replica, without its replicas, or wants a password."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions
from redis.asyncio import Redis

from chatsvc.model import Message, Prompt
from chatsvc.problems import StoreUnavailable
from chatsvc.replies import Replies
from chatsvc.stores.base import STORE_FAILURES, StoreMisconfigured
from chatsvc.stores.redis import RedisStore
from chatsvc.stores.redis.connect import failure_reason, is_transient
from chatsvc.ticker import Ticker
from tests.conftest import require
from tests.redis_server import RedisServer, running_redis

from .services import PROMPT, WAIT, Scripted, Service, ended

Harm = Callable[[Any], Awaitable[Any]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """One to be harmed."""
    require("redis-server")
    with running_redis(tmp_path, "--maxmemory-policy", "noeviction") as server:
        yield server


async def full(client: Any) -> None:
    await client.config_set("maxmemory", "1")


async def roomy(client: Any) -> None:
    await client.config_set("maxmemory", "0")


async def replica(client: Any) -> None:
    await client.execute_command("REPLICAOF", "127.0.0.1", "1")


async def master(client: Any) -> None:
    await client.execute_command("REPLICAOF", "NO", "ONE")


async def lonely(client: Any) -> None:
    await client.config_set("min-replicas-to-write", "1")


async def content(client: Any) -> None:
    await client.config_set("min-replicas-to-write", "0")


async def locked(client: Any) -> None:
    await client.config_set("requirepass", "secret")
    await client.client_kill_filter(_type="normal", skipme=True)


async def unlocked(client: Any) -> None:
    await client.config_set("requirepass", "")


async def forbidden(client: Any) -> None:
    await client.acl_setuser("default", commands=["-evalsha"])


async def allowed(client: Any) -> None:
    await client.acl_setuser("default", commands=["+evalsha"])


class Steady(Scripted):
    """Gives the same character again and again."""

    async def stream(self, prompt: Prompt) -> Any:
        """A thousand."""
        for _ in range(1000):
            yield "x"
            await asyncio.sleep(0.002)


@pytest.mark.parametrize(
    ("harm", "mend", "reason"),
    [
        (full, roomy, "full"),
        *(
            pytest.param(*what, marks=pytest.mark.thorough)
            for what in [
                (replica, master, "replica"),
                (lonely, content, "cannot-save"),
                (locked, unlocked, "denied"),
                (forbidden, allowed, "denied"),
            ]
        ),
    ],
)
async def test_for_a_moment_streams_pause_and_go_on(
    server: RedisServer,
    harm: Harm,
    mend: Harm,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is not ready meanwhile, the log says why, and the failures are counted by their reason."""
    store = RedisStore(server.url, keep=60, lease=1.0)
    failures = Counter[str]()
    store.on_failure(lambda reason: failures.update([reason]))
    await store.open()
    replies = Replies(store, Steady(), Ticker(store.clock), pace=0.0)
    try:
        async with (
            Redis.from_url(server.url, single_connection_client=True) as client,
            asyncio.timeout(WAIT),
        ):
            reply = await replies.start(PROMPT)
            while not reply.log.position:
                await asyncio.sleep(0.01)
            assert store.ready()
            await harm(client)
            later = asyncio.create_task(
                replies.start(Prompt((Message("user", "later"),)))
            )
            while store.ready():
                await asyncio.sleep(0.01)
            assert "Redis is away: " in caplog.text
            assert failures[reason]
            await mend(client)
            assert (await ended(await later))[1].state == "done"
            text, end = await ended(reply)
            assert (text, end.state) == ("x" * 1000, "done")
            while not store.ready():
                await asyncio.sleep(0.01)
            assert set(failures) <= {reason, "away"}
    finally:
        await replies.close()
        await store.close()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError("refused"), "away"),
        (TimeoutError(), "away"),
        (AttributeError("None has no attribute"), "away"),
        (exceptions.ConnectionError("Connection closed by server."), "away"),
        (exceptions.TimeoutError("Timeout"), "away"),
        (exceptions.ClusterDownError("CLUSTERDOWN The cluster is down"), "away"),
        (exceptions.ResponseError("UNBLOCKED force unblock"), "away"),
        (exceptions.BusyLoadingError("loading the dataset in memory"), "busy"),
        (exceptions.ResponseError("BUSY Redis is busy running a script."), "busy"),
        (exceptions.OutOfMemoryError("command not allowed"), "full"),
        (exceptions.ReadOnlyError("You can't write"), "replica"),
        (exceptions.ResponseError("MISCONF Errors writing to the AOF"), "cannot-save"),
        (exceptions.ResponseError("NOREPLICAS Not enough"), "cannot-save"),
        (exceptions.NoPermissionError("no permissions"), "denied"),
        (exceptions.AuthenticationError("invalid username-password"), "denied"),
        (
            exceptions.ResponseError("Protocol error: unauthenticated multibulk"),
            "denied",
        ),
        (exceptions.ResponseError("WRONGTYPE Operation against a key"), "refused"),
    ],
)
def test_each_failure_has_a_reason(error: Exception, reason: str) -> None:
    assert failure_reason(error) == reason
    assert reason in STORE_FAILURES


async def test_a_wrong_password_is_no_redis_that_is_away(server: RedisServer) -> None:
    """It is refused when a connection is made, and so for all commands together."""
    async with Redis.from_url(server.url) as client:
        await client.config_set("requirepass", "secret")
    address = server.url.replace("redis://", "redis://:wrong@")
    store = RedisStore(address, keep=60, patience=0.5)
    failures = Counter[str]()
    store.on_failure(lambda reason: failures.update([reason]))
    with pytest.raises(StoreMisconfigured):
        await store.open()
    assert set(failures) == {"denied"}


async def test_a_redis_that_goes_away_is_counted(server: RedisServer) -> None:
    store = RedisStore(server.url, keep=60)
    failures = Counter[str]()
    store.on_failure(lambda reason: failures.update([reason]))
    await store.open()
    try:
        assert not failures
        server.stop()
        async with asyncio.timeout(WAIT):
            while not failures["away"]:
                await asyncio.sleep(0.01)
        assert set(failures) == {"away"}
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", True),
        ("READONLY You can't write against a read only replica.", True),
        ("MISCONF Errors writing to the AOF file: No space left on device", True),
        ("NOREPLICAS Not enough good replicas to write.", True),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", False),
    ],
)
def test_redis_6_says_so_of_a_script_in_other_words(answer: str, why: bool) -> None:
    """As 6.2.14 does, word for word."""
    within = (
        "Error running script (call to f_dafb725e53e21ae71169ecb097484592ccb0eb3e): "
        f"@user_script:23: @user_script: 23: -{answer}"
    )
    assert is_transient(exceptions.ResponseError(within)) == why
    assert is_transient(exceptions.ResponseError(answer)) == why


async def test_what_it_refuses_for_good_is_a_problem_and_ends(
    service: Service, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Something else stands where the reply was."""
    backend = Scripted()
    owner = await service(backend)
    reply = await owner.start(PROMPT)
    key = f"chatsvc:{{0}}:{reply.id}"
    async with Redis.from_url(redis_server.url) as client:
        await client.set(key, "something else")
        with pytest.raises(StoreUnavailable):
            await (await service(Scripted())).open(reply.id)
        assert "WRONGTYPE" in caplog.text
        await owner.stop(reply)
        _, end = await ended(reply)
        assert end.problem is not None
        assert end.problem["type"] == "/problems/store-unavailable"
        backend.close_now.set()
        async with asyncio.timeout(WAIT):
            while owner.store.cluster.owns(reply.log):
                await asyncio.sleep(0.01)
        await client.delete(key)
