"""The settings of users and of pages of other origins.

It holds the groups "Users" and "Pages".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chatsvc.setting_formats import (
    FUNCTION,
    HEADER,
    ORIGIN,
    PATH,
    SWITCH,
    text_format,
)
from chatsvc.settings.definition import setting


@dataclass(frozen=True, kw_only=True)
class UserSettings:
    """Who may use the service."""

    group: ClassVar[str] = "Users"

    api_keys: str = setting(
        "",
        text_format("KEYS", "API keys"),
        "API keys of users, separated by spaces; it has no flag",
        secret=True,
        flagless=True,
    )
    api_keys_file: str = setting(
        "", PATH, "a TOML file of API keys, by their SHA-256; SIGHUP reads it again"
    )
    user_header: str = setting(
        "", HEADER, "the header in which a --trusted-proxy names the user"
    )
    authorize: str = setting(
        "", FUNCTION, "package.module:function of yours that names the user"
    )
    open: bool = setting(
        False, SWITCH, "let anyone in who reaches an address beyond this machine"
    )


@dataclass(frozen=True, kw_only=True)
class PageSettings:
    """Which pages of other origins may use the service."""

    group: ClassVar[str] = "Pages"

    allow_origin: tuple[str, ...] = setting(
        (), ORIGIN, "another origin whose pages may use the service; repeatable"
    )
    allow_credentials: bool = setting(
        False, SWITCH, "these pages may send cookies and read the answer"
    )
    allow_header: tuple[str, ...] = setting(
        (), HEADER, "another header that these pages may send; repeatable"
    )
