"""Connections to Redis: from an address to a client of redis-py, and which errors are transient.

It also holds what every user of a connection needs in the same way: the problem for a Redis that
can't be reached, and the pause before another try.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, urlsplit

from redis import exceptions
from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff

from chatsvc.problems import StoreUnavailable

RETRY_S = 0.1
"""Seconds between two tries while Redis is away."""

FAILURES: tuple[type[Exception], ...] = (
    OSError,
    exceptions.RedisError,
    exceptions.RedisClusterException,
)
"""The classes of all errors by which a call of redis-py reports that Redis has failed or refused.
"""

_TRANSIENT = (
    OSError,
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.NoPermissionError,
    exceptions.ClusterError,
    exceptions.TryAgainError,
    exceptions.RedisClusterException,
)

_TRANSIENT_WORDS = (
    "BUSY",
    "MISCONF",
    "NOREPLICAS",
    "OOM",
    "READONLY",
    "UNBLOCKED",
    "Protocol error: unauthenticated",
)

# In this order: redis-py derives the errors of a login and of loading from that of a connection.
_REASONS: tuple[tuple[tuple[type[Exception], ...], tuple[str, ...], str], ...] = (
    (
        (
            exceptions.NoPermissionError,
            exceptions.AuthenticationError,
            exceptions.AuthorizationError,
        ),
        ("NOAUTH", "NOPERM", "WRONGPASS", "Protocol error: unauthenticated"),
        "denied",
    ),
    ((exceptions.BusyLoadingError,), ("BUSY", "LOADING"), "busy"),
    ((exceptions.OutOfMemoryError,), ("OOM",), "full"),
    ((exceptions.ReadOnlyError,), ("READONLY",), "replica"),
    ((), ("MISCONF", "NOREPLICAS"), "cannot-save"),
    # The master is gone for a moment, as far as a Cluster or a blocked reader knows.
    (_TRANSIENT, ("UNBLOCKED",), "away"),
)

# What Redis 6.2 puts before the error of a command in a script.
_IN_SCRIPT = re.compile(r"Error running script .*?: -", re.DOTALL)

Client = Any
"""The type of redis-py's clients: `Redis` and `RedisCluster` share none that has their commands."""


def unavailable() -> StoreUnavailable:
    """Return the problem for a Redis that can't be reached."""
    return StoreUnavailable("Redis can't be reached.", retry_after=1)


def is_transient(answer: object) -> bool:
    """Return whether an answer of a pipeline is an error for which another try may help.

    Redis is away, full, a replica, loading or locked, say.
    """
    return isinstance(answer, _TRANSIENT) or (
        isinstance(answer, exceptions.ResponseError)
        and _IN_SCRIPT.sub("", str(answer), count=1).startswith(_TRANSIENT_WORDS)
    )


def failure_reason(error: Exception) -> str:
    """Return the reason of a failed request to Redis, one of `STORE_FAILURES`."""
    words = _IN_SCRIPT.sub("", str(error), count=1)
    for kinds, beginnings, reason in _REASONS:
        if isinstance(error, kinds) or words.startswith(beginnings):
            return reason
    # When a connection is closed during a call, redis-py raises other errors than its own too.
    return "refused" if isinstance(error, exceptions.ResponseError) else "away"


def connect(address: str, patience: float) -> Client:
    """Return a client for an address; it connects when it is first used.

    `address` is `redis://…` or `rediss://…` as redis-py takes them,
    `redis+sentinel://host:port,host:port/service/db`, or `redis+cluster://host:port`. `patience` is
    how many seconds Redis may be away before replies end: the client's timeouts are fractions of
    it, so that a silent connection is replaced more than once within it.

    Raises `ValueError` for an address that can't be read.
    """
    options: dict[str, Any] = {
        "decode_responses": True,
        "protocol": 2,  # redis-py shapes some answers by it; one shape is enough
        "socket_connect_timeout": patience / 10,
        "socket_timeout": patience * 0.3,
    }
    scheme, _, rest = address.partition("://")
    if scheme == "redis+cluster":
        return RedisCluster.from_url(f"redis://{rest}", **options)
    # No retries in the client: `Commands` and `Follower` know what is worth another try, and for
    # how long.
    options["retry"] = Retry(NoBackoff(), 0)
    if scheme == "redis+sentinel":
        return _sentinel(rest, options)
    return Redis.from_url(address, **options)


async def follow_master(client: Client) -> None:
    """Disconnect from a master that Sentinel has replaced; does nothing for other clients.

    The old master may live on for many seconds, and acknowledge writes that it loses when it
    becomes a replica of its successor. Raises one of `FAILURES`.
    """
    pool = getattr(client, "connection_pool", None)
    if isinstance(pool, SentinelConnectionPool) and pool.master_address is not None:
        master = await pool.sentinel_manager.discover_master(pool.service_name)
        if master != pool.master_address:
            await pool.disconnect()


async def disconnect(client: Client) -> None:
    """Close all connections of a client, also those to Sentinels, which redis-py leaves open."""
    pool = getattr(client, "connection_pool", None)
    await client.aclose()
    if isinstance(pool, SentinelConnectionPool):
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()


def _sentinel(rest: str, options: dict[str, Any]) -> Client:
    parts = urlsplit(f"//{rest}")
    addresses = parts.netloc.rpartition("@")[2].split(",")
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("a Sentinel's address names its service: …/mymaster")
    hosts = [
        (host, int(port or 26379))
        for host, _, port in (address.partition(":") for address in addresses)
    ]
    credentials = parts.netloc.rpartition("@")[0]
    user, _, password = credentials.partition(":")
    sentinel: Any = Sentinel
    return sentinel(hosts, sentinel_kwargs=options, **options).master_for(
        service,
        db=int(database or 0),
        username=unquote(user) or None,
        password=unquote(password) or None,
    )
