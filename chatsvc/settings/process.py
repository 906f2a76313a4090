"""The settings of the processes that serve.

It holds the group "Process". Times are in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chatsvc.setting_formats import (
    SECONDS,
    WORKERS,
)
from chatsvc.settings.definition import setting


@dataclass(frozen=True, kw_only=True)
class ProcessSettings:
    """How many processes serve, and how they end."""

    group: ClassVar[str] = "Process"

    workers: int = setting(
        1, WORKERS, "processes that serve; more than one needs Redis"
    )
    drain: float = setting(10.0, SECONDS, "seconds that running replies get at the end")
