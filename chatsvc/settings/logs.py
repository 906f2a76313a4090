"""The settings of the logs.

It holds the group "Logs". Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chatsvc.setting_formats import SWITCH, choice_format
from chatsvc.settings.definition import setting


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """What is logged, and how."""

    group: ClassVar[str] = "Logs"

    log_format: str = setting(
        "text", choice_format("text", "json"), "how log lines are written"
    )
    log_level: str = setting(
        "info",
        choice_format("debug", "info", "warning", "error", metavar="LEVEL"),
        "write from debug, info, warning or error on",
    )
    no_access_log: bool = setting(False, SWITCH, "write no line for each request")
