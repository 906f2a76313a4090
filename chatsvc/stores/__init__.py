"""Stores: where replies are kept, and what connects the nodes that share them.

    redis/     RedisStore: replies live in Redis, and any number of nodes share them (its own map)
    memory     MemoryStore: replies live in this process and go with it
    expired    a compact set of ids and keys, for MemoryStore
    sizes      how much memory a record and a log count for
    single_node  the cluster of a store that one node uses alone
    base       the interface Store; Record, and the errors of stores
    cluster    the interface Cluster, of what a store does for several nodes
    address    the syntax of addresses of Redis

A module imports only those below it in this list, and `redis` only the last three; also
`chatsvc.log` and what is below that. Nothing here imports `backends`, `replies` or the web. This
package imports its `redis` only when the settings name a store in Redis, because the client library
is an extra.

A write: the producer of a reply calls `Store.append` with whole characters and `Store.append_side`
with side units, then `Store.seal`, then `Store.finish`. MemoryStore puts them into the reply's
`Log` at once; RedisStore first sends them to Redis, and the log takes what Redis has acknowledged.

A read: `Store.find` returns the reply's live `Log`; readers wait at it, and take from it what has
been released by `Store.clock`. `Store.refresh` waits until it has what other nodes have written.

A new store is one module with a class that satisfies `Store`, and one line in `STORES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from chatsvc.settings import BadSetting, Settings
from chatsvc.stores.address import SCHEMES, parse_address
from chatsvc.stores.base import (
    KeyReused,
    NotWritable,
    Record,
    Store,
    StoreMisconfigured,
)
from chatsvc.stores.cluster import Cluster
from chatsvc.stores.memory import MemoryStore
from chatsvc.stores.single_node import SingleNode


def _redis(settings: Settings, address: str) -> Store:
    try:
        # The package `redis` is an optional extra.
        from chatsvc.stores.redis import RedisStore
    except ModuleNotFoundError as error:
        reason = (
            "needs the extra redis, which `pip install '.[redis]'` in a clone of chatsvc "
            f"installs: {error}"
        )
        raise ValueError(reason) from None
    return RedisStore(address, keep=settings.keep, prefix=settings.store_prefix)


STORES: dict[str, Callable[[Settings, str], Store]] = {
    "memory": lambda settings, _: MemoryStore(keep=settings.keep),
    **dict.fromkeys(SCHEMES, _redis),
}
"""The factory of each store, by the store's name or by the scheme of its address.

It is called with the settings and with the name or address.
"""

MAX_ADDRESS_BYTES = 4096
"""Bytes that the file of `--store-file` may have: an address is far shorter."""


def check_store_name(text: str) -> str:
    """Return `text`, a store's name or address, unchanged.

    Raises `ValueError`, which says what `--store` takes, when it is neither. The message shows no
    part of the text that may be a password.
    """
    if text == "memory":
        return text
    scheme, separator, _ = text.partition("://")
    if separator and scheme in SCHEMES:
        parse_address(text)
        return text
    # Of a mistyped address only its scheme is shown; a word is most likely a mistyped name.
    name = re.match(r"[A-Za-z+]{1,16}(?=:/|\Z)", text)
    shown = f", not {name[0]!r}" if name is not None else ""
    raise ValueError(f"takes memory or {', '.join(f'{s}://…' for s in SCHEMES)}{shown}")


def read_store_file(path: str) -> str:
    """Return the store's name or address that a file holds, without the white space around it.

    Raises `ValueError`, which says what `--store-file` takes, when the file can't be read or holds
    no such text. The message shows nothing of what it holds.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_ADDRESS_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no such path"
        raise ValueError(f"takes a file that can be read: {reason}") from None
    if len(data) > MAX_ADDRESS_BYTES:
        raise ValueError(f"takes a file of at most {MAX_ADDRESS_BYTES} bytes")
    try:
        return check_store_name(data.decode().strip())
    except UnicodeDecodeError:
        raise ValueError("takes a file in UTF-8") from None
    except ValueError as error:
        raise ValueError(
            f"takes a file that holds what --store takes: it {error}"
        ) from None


def with_store_file_read(settings: Settings) -> Settings:
    """Return settings whose `store` is what their `store_file` holds, if they name one.

    A file is read once for the whole service, because it may be a pipe: the result names none.
    Raises `BadSetting` when the file can't be read, and when a store is named as well.
    """
    if not settings.store_file:
        return settings
    if settings.store != "memory":
        raise BadSetting("--store and --store-file both name the store: one is enough")
    try:
        address = read_store_file(settings.store_file)
    except ValueError as error:
        raise BadSetting(f"--store-file {error}") from None
    return replace(settings, store=address, store_file="")


def make_store(settings: Settings) -> Store:
    """Return the store that `settings.store`, or the file `settings.store_file`, names.

    It is not yet open. Raises `ValueError` when no store has this name, its address can't be read
    or used, or the extra that it needs is not installed.
    """
    settings = with_store_file_read(settings)
    name = check_store_name(settings.store).partition("://")[0]
    return STORES[name](settings, settings.store)


__all__ = [
    "STORES",
    "Cluster",
    "KeyReused",
    "NotWritable",
    "Record",
    "SingleNode",
    "Store",
    "StoreMisconfigured",
    "check_store_name",
    "make_store",
    "read_store_file",
    "with_store_file_read",
]
