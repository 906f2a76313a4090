"""The values that say what clients ask for.

Every HTTP request and WebSocket frame about a reply becomes one of them, once. Endpoints pass it
down instead of the request or the frame: `Start`, `Read` or `Stop`, each with the `Caller`, and the
first two with the `View` in which the reply is to be given.
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

    `user` is the user's name, empty if the service does not authorize requests. `client` is the
    client's address, empty if it is unknown.
    """

    user: str = ""
    client: str = ""


class View(msgspec.Struct, frozen=True):
    """The form in which a reply is to be given.

    `representation` is a media type; over a WebSocket it is the subprotocol, or empty for none.
    `wait` is the seconds that a snapshot may wait for text, or None when the client named none. For
    server-sent events, `ids` is whether they have ids and comments, and `announced` whether an
    event with the reply's id alone goes before the first. For `chatsvc.v1`, `key` is the
    idempotency key that is echoed in the reply's first event.
    """

    representation: str = EVENT_STREAM
    wait: float | None = None
    ids: bool = True
    announced: bool = False
    key: str = ""


class Start(msgspec.Struct, frozen=True):
    """A request to start a reply.

    `key` is the idempotency key, empty for none. `digest` identifies the prompt: a known key with
    another digest is refused.
    """

    prompt: Prompt
    caller: Caller
    key: str = ""
    digest: str = ""
    view: View = View()


class Read(msgspec.Struct, frozen=True):
    """A request to read a reply from behind position `after` (code points), or None for its end."""

    reply_id: str
    after: int | None
    caller: Caller
    view: View = View()


class Stop(msgspec.Struct, frozen=True):
    """A request to stop a reply."""

    reply_id: str
    caller: Caller
