"""The values that all rooms share: what is asked of a backend, and how a reply ends.

Plain immutable values that every room shares. They import nothing of chatsvc. Stores serialise
`Prompt` and `End` with msgspec, so their field names are part of what is kept: a renamed field
makes records of running nodes unreadable.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation: its author's role and its text.

    `role` is `system`, `developer`, `user` or `assistant` (PROTOCOL.md section 2); `content` is the
    text as it was received, of any length that the request's limits allow.
    """

    role: str
    content: str


class Prompt(msgspec.Struct, frozen=True):
    """The input of a backend: a conversation, and how to answer it.

    `messages` are the turns, oldest first. `written` is the text that the reply already has, empty
    for a new reply: a backend whose `resumes` is true continues behind it. `options` are further
    parameters of an OpenAI request by their names, for example `temperature`; backends that don't
    speak OpenAI's protocol ignore them.
    """

    messages: tuple[Message, ...]
    written: str = ""
    options: dict[str, Any] = {}


class Finish(msgspec.Struct, frozen=True):
    """The optional last item of a backend's stream: why the text ended, and what it cost.

    `reason` is `stop`, `length` or `content_filter` (PROTOCOL.md section 1), or what else the
    backend says, in at most 100 printable characters. `usage` is OpenAI's usage object as the backend counted it, or None where it counts
    nothing; what JSON can't hold of it is left out.
    """

    reason: str = "stop"
    usage: dict[str, Any] | None = None


class End(msgspec.Struct, frozen=True):
    """How a reply ended (PROTOCOL.md section 1).

    `state` is `done`, `stopped` or `failed`. `finish_reason` says more: `stop`, `length` or
    `content_filter` when it is done, or what else the backend says, `stopped` or `abandoned` when it was stopped, `error` or
    `interrupted` when it failed. `problem` is the problem details object (RFC 9457) of a failed
    reply, else None. `usage` is OpenAI's usage object as the backend counted it, or None where it
    counts nothing.
    """

    state: str
    finish_reason: str
    problem: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
