"""The limits of requests, of clients and of the process.

It holds the group "Limits". Times are in seconds, sizes in bytes.
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


@dataclass(frozen=True)
class LimitSettings:
    """What requests, clients and the process may use."""

    group: ClassVar[str] = "Limits"

    max_message: int = setting(32 * 1024, SIZE, "bytes of UTF-8 a message may have")
    max_files: int = setting(
        4 * 1024 * 1024, SIZE, "bytes the files of a request may have as they are sent"
    )
    max_replies: int = setting(10_000, COUNT, "replies that run at once")
    max_per_client: int = setting(
        200, LIMIT, "running replies of one user or address; 0: no limit"
    )
    max_starts: int = setting(
        600, LIMIT, "replies that one user or address starts in a minute; 0: no limit"
    )
    max_readers: int = setting(
        1000, LIMIT, "replies that one user or address reads at once; 0: no limit"
    )
    max_connections: int = setting(
        1000, LIMIT, "open connections of one user or address; 0: no limit"
    )
    limits: str = setting(
        "on",
        choice_format("on", "off"),
        "off lifts all limits of the five flags before, for tests and benchmarks",
    )
    max_memory: int | None = setting(
        None,
        SIZE,
        "bytes that prompts, replies and connections may hold (half of what there is)",
    )
