"""The settings of the processes that serve.

It holds the group "Process". Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chatsvc.setting_formats import (
    SECONDS,
    WORKERS,
)
from chatsvc.settings.definition import setting


@dataclass(frozen=True)
class ProcessSettings:
    """How many processes serve, and how they end."""

    group: ClassVar[str] = "Process"

    workers: int = setting(
        1,
        WORKERS,
        "processes that share the port; more than one needs a store in Redis",
    )
    drain: float = setting(
        10.0, SECONDS, "seconds that running replies get when the service ends"
    )
