"""Stores: where replies are kept, and what connects the nodes that share them.

    redis/     RedisStore: replies live in Redis, and any number of nodes share them (its own map)
    memory     MemoryStore: replies live in this process and go with it
    expired    a compact set of ids and keys, for MemoryStore
    base       the interfaces: Store, Cluster; Record, and the errors NotWritable and KeyReused

A module imports only those below it in this list, and `redis` only `base`; also `chatsvc.log` and
what is below that. Nothing here imports `backends`, `replies` or the web. This package imports its
`redis` only when the settings name a store in Redis, because the client library is an extra.

A write: the producer of a reply calls `Store.append` with whole characters and `Store.append_side`
with side units, then `Store.seal`, then `Store.finish`. MemoryStore puts them into the reply's `Log` at once; RedisStore first sends them to
Redis, and the log takes what Redis has acknowledged.

A read: `Store.find` returns the reply's live `Log`; readers wait at it, and take from it what has
been released by `Store.clock`. `Store.refresh` waits until it has what other nodes have written.

A new store is one module with a class that satisfies `Store`, and one line in `STORES`.
"""

from __future__ import annotations

from collections.abc import Callable

from chatsvc.settings import Settings
from chatsvc.stores.base import (
    Cluster,
    KeyReused,
    NotWritable,
    Record,
    SingleNode,
    Store,
)
from chatsvc.stores.memory import MemoryStore


def _redis(settings: Settings) -> Store:
    try:
        # The package `redis` is an optional extra.
        from chatsvc.stores.redis import RedisStore
    except ModuleNotFoundError as error:
        raise ValueError(f"needs chatsvc[redis]: {error}") from None
    return RedisStore(settings.store, keep=settings.keep)


STORES: dict[str, Callable[[Settings], Store]] = {
    "memory": lambda settings: MemoryStore(keep=settings.keep),
    "redis": _redis,
    "rediss": _redis,
    "redis+sentinel": _redis,
    "redis+cluster": _redis,
}
"""The factory of each store, by the store's name or by the scheme of its address."""


def check_store_name(text: str) -> str:
    """Return `text`, a store's name or address, unchanged.

    Raises `ValueError`, which says what `--store` takes, when no store has this name or scheme.
    """
    if text.partition("://")[0] in STORES:
        return text
    raise ValueError(f"takes {' or '.join(STORES)}, not {text!r}")


def make_store(settings: Settings) -> Store:
    """Return the store that `settings.store` names, not yet open.

    Raises `ValueError` when no store has this name, its address can't be read, or the extra that it
    needs is not installed.
    """
    name = check_store_name(settings.store).partition("://")[0]
    return STORES[name](settings)


__all__ = [
    "STORES",
    "Cluster",
    "KeyReused",
    "NotWritable",
    "Record",
    "SingleNode",
    "Store",
    "check_store_name",
    "make_store",
]
