"""Where replies are kept. A new store is one file and one line in `STORES`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.stores.base import KeyReused, NotWritable, Record, Store
from chatsvc.stores.memory import MemoryStore

if TYPE_CHECKING:
    from chatsvc.settings import Settings


def _redis(settings: Settings) -> Store:
    try:
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
"""By name, or by the scheme of an address."""


def check_store_name(text: str) -> str:
    """Return `text`, the name of a store or an address with a known scheme, as it is.

    Raises `ValueError`, "takes …, not …", when it is neither.
    """
    if text in STORES or text.partition("://")[0] in STORES:
        return text
    raise ValueError(f"takes {' or '.join(STORES)}, not {text!r}")


def make_store(settings: Settings) -> Store:
    """The store that the settings name."""
    return STORES[settings.store.partition("://")[0]](settings)


__all__ = [
    "STORES",
    "End",
    "KeyReused",
    "Log",
    "NotWritable",
    "Record",
    "Store",
    "check_store_name",
    "make_store",
]
