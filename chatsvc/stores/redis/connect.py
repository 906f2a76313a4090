"""Connections to Redis: from an address to a client of redis-py, and which errors are transient.

It also holds what every user of a connection needs in the same way: the problem for a Redis that
can't be reached, and the pause before another try.
"""

from __future__ import annotations

import re
import ssl
from typing import Any

from redis import exceptions
from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.credentials import UsernamePasswordCredentialProvider

from chatsvc.problems import StoreUnavailable
from chatsvc.stores.address import RedisAddress

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
    ((exceptions.BusyLoadingError,), ("BUSY", "LOADING"), "busy"),
    ((exceptions.OutOfMemoryError,), ("OOM",), "full"),
    ((exceptions.ReadOnlyError,), ("READONLY",), "replica"),
    ((), ("MISCONF", "NOREPLICAS"), "cannot-save"),
    # The master is gone for a moment, as far as a Cluster or a blocked reader knows.
    (_TRANSIENT, ("UNBLOCKED",), "away"),
)

# The words of Redis, alone or within the text that redis-py or a script puts around them.
_REFUSAL = re.compile(
    r"\b(?:NOAUTH|WRONGPASS|NOPERM)\b|invalid password|invalid username-password"
    r"|Authentication required|[Nn]o permissions|no password is set|unauthenticated"
    r"|without any password configured|AuthenticationError|NoPermissionError"
    r"|The user executing the script can't"
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


def is_refusal(error: BaseException | None) -> bool:
    """Return whether Redis answered `error` because of the user: a wrong password, a missing right.

    The errors that `error` was raised from count as well, because redis-py wraps some of them.
    """
    while error is not None:
        if isinstance(
            error, (exceptions.AuthenticationError, exceptions.NoPermissionError)
        ) or (
            isinstance(error, exceptions.RedisError)
            and _REFUSAL.search(str(error)) is not None
        ):
            return True
        error = error.__cause__
    return False


def failure_reason(error: Exception) -> str:
    """Return the reason of a failed request to Redis, one of `STORE_FAILURES`."""
    if is_refusal(error):
        return "denied"
    words = _IN_SCRIPT.sub("", str(error), count=1)
    for kinds, beginnings, reason in _REASONS:
        if isinstance(error, kinds) or words.startswith(beginnings):
            return reason
    # When a connection is closed during a call, redis-py raises other errors than its own too.
    return "refused" if isinstance(error, exceptions.ResponseError) else "away"


def connect(address: RedisAddress, patience: float) -> Client:
    """Return a client for an address; it connects when it is first used.

    `patience` is how many seconds Redis may be away before replies end: the client's timeouts are
    fractions of it, so that a silent connection is replaced more than once within it.

    Raises `ValueError` when a file that the address names for TLS can't be used.
    """
    options: dict[str, Any] = {
        "decode_responses": True,
        "protocol": 2,  # redis-py shapes some answers by it; one shape is enough
        "socket_connect_timeout": patience / 10,
        "socket_timeout": patience * 0.3,
    }
    if address.tls:
        _check_files(address)
        options |= {"ssl": True, **address.tls_options}
    user = _credentials(address.username, address.password)
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        return RedisCluster(startup_nodes=nodes, **user, **options)
    # No retries in the client: `Commands` and `Follower` know what is worth another try, and for
    # how long.
    options["retry"] = Retry(NoBackoff(), 0)
    if address.kind == "sentinel":
        own = _credentials(address.sentinel_username, address.sentinel_password)
        sentinel: Any = Sentinel
        return sentinel(
            address.hosts, sentinel_kwargs=options | own, **options
        ).master_for(address.service, db=address.database, **user)
    [(host, port)] = address.hosts
    return Redis(host=host, port=port, db=address.database, **user, **options)


def _credentials(username: str | None, password: str | None) -> dict[str, Any]:
    """Return the arguments of redis-py for a user; none for `default` without a password."""
    if username is None and password is None:
        return {}
    # The `repr` of a client has its arguments, and that of this object no password.
    provider = UsernamePasswordCredentialProvider(username, password)
    return {"credential_provider": provider}


def _check_files(address: RedisAddress) -> None:
    """Raise `ValueError` when a file for TLS can't be used.

    Otherwise it would fail with each connection, and look as if Redis were away.
    """
    files = {
        name: str(address.tls_options[name])
        for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
        if name in address.tls_options
    }
    name = "ssl_ca_certs"
    try:
        if name in files:
            ssl.create_default_context(cafile=files[name])
        name = "ssl_certfile"
        if name in files:
            context = ssl.create_default_context()
            # A key that is encrypted would be asked for at the terminal, again and again.
            context.load_cert_chain(files[name], files.get("ssl_keyfile"), lambda: "")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no certificate or key in PEM"
        raise ValueError(
            f"takes a file for {name} that can be used: {reason}"
        ) from None


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
