"""The nouns."""

from __future__ import annotations

from typing import Any

import msgspec


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation; `role` is system, developer, user or assistant."""

    role: str
    content: str


class Prompt(msgspec.Struct, frozen=True):
    """What is asked of a backend.

    `written` is the text that the reply already has: a backend that `resumes` carries on behind it. `options` are
    further parameters of an OpenAI request; a backend that has no use for them ignores them.
    """

    messages: tuple[Message, ...]
    written: str = ""
    options: dict[str, Any] = {}


class Finish(msgspec.Struct, frozen=True):
    """May be the last thing a backend yields: why it ended (`stop`, `length`, `content_filter`) and what it used."""

    reason: str = "stop"
    usage: dict[str, Any] | None = None


class End(msgspec.Struct, frozen=True):
    """How a reply ended (PROTOCOL.md section 1): `state` is done, stopped or failed.

    `usage` is what the backend counted, as OpenAI's usage object; None where it counts nothing.
    """

    state: str
    finish_reason: str
    problem: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
