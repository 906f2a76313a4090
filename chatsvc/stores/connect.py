"""Connections to Redis: from an address to a client of redis-py, and which of its errors pass."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from redis import exceptions
from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

SCHEMES = ("redis", "rediss", "redis+sentinel", "redis+cluster")

PASSING: tuple[type[Exception], ...] = (
    OSError,
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.ClusterError,
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
    exceptions.TryAgainError,
)
"""Errors that say "not now": the same command is worth another try."""

OPTIONS: dict[str, Any] = {
    "decode_responses": True,
    "protocol": 2,  # redis-py shapes some answers by it; one shape is enough
    "socket_connect_timeout": 1.0,
    "socket_timeout": 3.0,
}

Client = Any  # Redis and RedisCluster share no type that has their commands


def connect(address: str) -> Client:
    """A client for an address; it connects when it is used. Raises `ValueError` for one that can't be.

    `redis://` and `rediss://` as redis-py takes them; `redis+sentinel://host:port,host:port/service/db`;
    `redis+cluster://host:port`.
    """
    scheme, _, rest = address.partition("://")
    if scheme == "redis+cluster":
        return RedisCluster.from_url(f"redis://{rest}", **OPTIONS)
    if scheme == "redis+sentinel":
        return _sentinel(rest)
    # Trying again is the writer's and the follower's own business: they know what is worth it, and for how long.
    return Redis.from_url(address, retry=Retry(NoBackoff(), 0), **OPTIONS)


def _sentinel(rest: str) -> Client:
    parts = urlsplit(f"//{rest}")
    places = parts.netloc.rpartition("@")[2].split(",")
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("a Sentinel's address names its service: …/mymaster")
    hosts = [
        (host, int(port or 26379))
        for host, _, port in (place.partition(":") for place in places)
    ]
    credentials = parts.netloc.rpartition("@")[0]
    user, _, password = credentials.partition(":")
    sentinel: Any = Sentinel
    return sentinel(hosts, **OPTIONS).master_for(
        service,
        db=int(database or 0),
        username=unquote(user) or None,
        password=unquote(password) or None,
        retry=Retry(NoBackoff(), 0),
    )
