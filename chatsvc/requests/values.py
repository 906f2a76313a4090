"""What clients ask for, as values.

Every HTTP request and WebSocket frame becomes one of them, once. Endpoints pass it down instead of
the request or the frame: `Start`, `Read` or `Stop`, each with the `Caller`, and with the `View` in
which the reply is to be given.
"""

from __future__ import annotations

import msgspec

from chatsvc.model import Prompt

EVENT_STREAM = "text/event-stream"
"""The media type of server-sent events."""

SUBPROTOCOL = "chatsvc.v1"
"""The WebSocket subprotocol of events as JSON (PROTOCOL.md section 4)."""

LONGEST_WAIT_S = 30
"""Seconds that a client may ask a long poll to wait (PROTOCOL.md section 2)."""


class Caller(msgspec.Struct, frozen=True):
    """The sender of a request.

    `user` is empty where the service does not authorize, `client` the address, empty if unknown.
    """

    user: str = ""
    client: str = ""


class View(msgspec.Struct, frozen=True):
    """How a reply is to be given.

    `representation` is a media type, or a WebSocket subprotocol, empty for none. `wait` is the
    seconds that a snapshot may wait for text, or None when it was not asked for. Of server-sent
    events: `ids` is whether they have ids and comments, `announced` whether the reply's id goes
    before the first. `key` is the idempotency key that a frame's events echo.
    """

    representation: str = EVENT_STREAM
    wait: float | None = None
    ids: bool = True
    announced: bool = False
    key: str = ""


class Start(msgspec.Struct, frozen=True):
    """A request to begin a reply.

    `key` is the idempotency key, empty for none, and `digest` identifies what it was used for: the
    same key with another digest is refused.
    """

    prompt: Prompt
    caller: Caller
    key: str = ""
    digest: str = ""
    view: View = View()


class Read(msgspec.Struct, frozen=True):
    """A request to read a reply from behind position `after` (code points); None is its end."""

    reply_id: str
    after: int | None
    caller: Caller
    view: View = View()


class Stop(msgspec.Struct, frozen=True):
    """A request to stop a reply."""

    reply_id: str
    caller: Caller
