"""The limits of requests, of clients and of the process.

It holds the group "Limits". Sizes are in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chatsvc.setting_formats import (
    COUNT,
    LIMIT,
    SIZE,
    choice_format,
)
from chatsvc.settings.definition import setting


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """What requests, clients and the process may use."""

    group: ClassVar[str] = "Limits"

    max_message: int = setting(32 * 1024, SIZE, "bytes of UTF-8 a message may have")
    max_files: int = setting(
        4 * 1024 * 1024, SIZE, "bytes the files of a request may have, as sent"
    )
    max_replies: int = setting(10_000, COUNT, "replies that run at once")
    max_per_client: int = setting(
        200, LIMIT, "running replies of a user or address; 0: no limit"
    )
    max_starts: int = setting(
        600, LIMIT, "replies one of them starts in a minute; 0: no limit"
    )
    max_readers: int = setting(
        1000, LIMIT, "replies one of them reads at once; 0: no limit"
    )
    max_connections: int = setting(
        1000, LIMIT, "open connections of one of them; 0: no limit"
    )
    limits: str = setting(
        "on",
        choice_format("on", "off"),
        "off lifts the limits of the five flags before",
    )
    max_memory: int | None = setting(
        None,
        SIZE,
        "bytes that it holds for clients",
        shown="half of what there is",
    )
