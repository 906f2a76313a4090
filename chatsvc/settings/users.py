"""The settings of users and of pages of other origins.

It holds the groups "Users" and "Pages". Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chatsvc.setting_formats import (
    FUNCTION,
    HEADER,
    ORIGIN,
    SWITCH,
    text_format,
)
from chatsvc.settings.definition import setting


@dataclass(frozen=True)
class UserSettings:
    """Who may use the service."""

    group: ClassVar[str] = "Users"

    api_keys: str = setting(
        "",
        text_format("KEYS", "API keys"),
        "the API keys of users, separated by spaces",
        secret=True,
        flagless=True,
    )
    api_keys_file: str = setting(
        "",
        text_format("FILE", "a file"),
        "a TOML file of users' API keys, by their SHA-256; SIGHUP reads it again",
    )
    user_header: str = setting(
        "",
        HEADER,
        "the header in which these proxies name the user, as X-Forwarded-User",
    )
    authorize: str = setting(
        "",
        FUNCTION,
        "your function that says whose a request is: package.module:function",
    )
    open: bool = setting(
        False, SWITCH, "let anyone in who reaches an address beyond this machine"
    )


@dataclass(frozen=True)
class PageSettings:
    """Which pages of other origins may use the service."""

    group: ClassVar[str] = "Pages"

    allow_origin: tuple[str, ...] = setting(
        (), ORIGIN, "another origin that may use the service; repeatable"
    )
    allow_credentials: bool = setting(
        False, SWITCH, "let the pages of these origins send cookies and read the answer"
    )
    allow_header: tuple[str, ...] = setting(
        (),
        HEADER,
        "another header that the pages of these origins may send; repeatable",
    )
