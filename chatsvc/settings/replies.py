"""The settings of replies and of the store that keeps them.

It holds the groups "Replies" and "Store". Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chatsvc.setting_formats import (
    KEY_PREFIX,
    PATH,
    SECONDS,
    SIZE,
    TIMEOUT,
    text_format,
)
from chatsvc.settings.definition import setting


@dataclass(frozen=True, kw_only=True)
class ReplySettings:
    """How a reply is released, how long it lives and what it may hold."""

    group: ClassVar[str] = "Replies"

    pace: float | None = setting(
        None,
        SECONDS,
        "seconds between characters",
        shown="0.1 for echo, 0 for others",
    )
    grace: float = setting(
        30.0, SECONDS, "seconds that a reply goes on when nobody reads it"
    )
    keep: float = setting(300.0, SECONDS, "seconds that an ended reply is kept")
    max_reply: int = setting(256 * 1024, SIZE, "bytes of UTF-8 a reply may have")
    max_parts: int = setting(
        4 * 1024 * 1024, SIZE, "bytes a reply may have beside its text"
    )
    max_seconds: float = setting(
        1800.0, TIMEOUT, "seconds in which a backend must have given all"
    )


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Where replies are kept."""

    group: ClassVar[str] = "Store"

    store: str = setting(
        "memory",
        text_format("URL", "a store's name or address"),
        "memory, or an address as redis://host:port/db",
        secret=True,
    )
    store_file: str = setting(
        "",
        PATH,
        "a file with what --store takes: no flag shows a password then",
    )
    store_prefix: str = setting(
        "chatsvc", KEY_PREFIX, "how the names of all keys in Redis begin"
    )
