"""Connections to Redis: from an address to a client of redis-py, and which of its errors pass."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, urlsplit

from redis import exceptions
from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff

SCHEMES = ("redis", "rediss", "redis+sentinel", "redis+cluster")

FAILURES: tuple[type[Exception], ...] = (
    OSError,
    exceptions.RedisError,
    exceptions.RedisClusterException,
)
"""All that a call may raise that has to do with Redis."""

_PASSING = (
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

_PASSING_WORDS = (
    "BUSY",
    "MISCONF",
    "NOREPLICAS",
    "OOM",
    "READONLY",
    "UNBLOCKED",
    "Protocol error: unauthenticated",
)

_IN_SCRIPT = re.compile(r"Error running script .*?: -", re.DOTALL)
"""What Redis 6.2 puts before an error of a command in a script."""


def passes(error: object) -> bool:
    """Whether an error says "not now": then the same command is worth another try."""
    return isinstance(error, _PASSING) or (
        isinstance(error, exceptions.ResponseError)
        and _IN_SCRIPT.sub("", str(error), count=1).startswith(_PASSING_WORDS)
    )


Client = Any  # Redis and RedisCluster share no type that has their commands


def connect(address: str, patience: float) -> Client:
    """A client for an address; it connects when it is used. Raises `ValueError` for one that can't be.

    `redis://` and `rediss://` as redis-py takes them; `redis+sentinel://host:port,host:port/service/db`;
    `redis+cluster://host:port`. `patience` is the seconds for which Redis may be away before replies end: within it,
    a silent connection is given up more than once.
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
    # Trying again is the writer's and the follower's own business: they know what is worth it, and for how long.
    options["retry"] = Retry(NoBackoff(), 0)
    if scheme == "redis+sentinel":
        return _sentinel(rest, options)
    return Redis.from_url(address, **options)


async def follow_master(client: Client) -> None:
    """Leave a master that Sentinel has replaced.

    It may live on for many seconds and acknowledge what its successor will make it forget. Raises one of `FAILURES`.
    """
    pool = getattr(client, "connection_pool", None)
    if isinstance(pool, SentinelConnectionPool) and pool.master_address is not None:
        master = await pool.sentinel_manager.discover_master(pool.service_name)
        if master != pool.master_address:
            await pool.disconnect()


async def disconnect(client: Client) -> None:
    """Close all its connections; redis-py leaves those to the Sentinels themselves open."""
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
        for host, _, port in (place.partition(":") for place in addresses)
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
