"""The values that say what clients ask for.

Every HTTP request and WebSocket frame about a reply becomes one of them, once. Endpoints pass it
down instead of the request or the frame: `Start`, `Read` or `Stop`, each with the `Caller`, and the
first two with the `View` in which the reply is to be given.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

import msgspec

from chatsvc.client_limits import ClientLimits
from chatsvc.cursor import Place
from chatsvc.kept_prompt import KeptPrompt

EVENT_STREAM = "text/event-stream"
"""The media type of server-sent events."""

SUBPROTOCOL = "chatsvc.v1"
"""The WebSocket subprotocol of events as JSON (PROTOCOL.md section 4)."""

PARTS_SUBPROTOCOL = "chatsvc.v2"
"""The WebSocket subprotocol of a reply's parts as JSON (PROTOCOL.md section 4)."""

LONGEST_WAIT_S = 30
"""Seconds that a client may ask a long poll to wait (PROTOCOL.md section 2)."""

SHARED_CHARACTERS = 16
"""Characters from which on an idempotency key, or the id of a chat, is the same for all strangers.

Only a random text that long can be taken for one that nobody else sends (PROTOCOL.md section 2).
"""


BODY_FACTOR = 16
"""The bytes that a body may have beside its files, divided by those that a message may have.

A body holds a conversation.
"""


class RequestLimits(msgspec.Struct, frozen=True):
    """What a request may hold (PROTOCOL.md section 2).

    `message` is the most bytes of UTF-8 of a message's text, `files` the most bytes of all files in
    a request as they are sent, 0 where the backend takes none. `takes` has what the backend takes
    beside text, of `chatsvc.model.ABILITIES`, and `models` the names of the models that a request
    may choose, `*` for any.
    """

    message: int
    files: int = 0
    takes: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()

    @property
    def text(self) -> int:
        """The most bytes that a body may have beside its files."""
        return self.message * BODY_FACTOR

    @property
    def body(self) -> int:
        """The most bytes that a body may have."""
        return self.text + self.files


class Caller(msgspec.Struct, frozen=True):
    """The sender of a request.

    `user` is the user's name, empty if the service does not authorize requests. `client` is the
    client's address, empty if it is unknown. `account` is what the client's use of the service is
    counted by, and `limits` what is allowed to it, without a None where an endpoint has made the
    caller. `ticket` is the name of the ticket by which the user is known, empty for none, and
    `reply` the id of the only reply that it may read, if the ticket had one when the request came.
    `connection` is a random text of a WebSocket's own, which no other connection has, and empty for
    a request over HTTP. `headers` are those of the request, or of the WebSocket's handshake, that
    backends may know, by their names. `trace` are the request's headers of W3C Trace Context, empty
    where nobody collects traces.
    """

    user: str = ""
    client: str = ""
    account: str = ""
    limits: ClientLimits = ClientLimits()
    ticket: str = ""
    reply: str = ""
    connection: str = ""
    headers: dict[str, str] = {}
    trace: dict[str, str] = {}

    def shares(self, text: str) -> bool:
        """Return whether a key or a chat's id means the same wherever the caller sends it.

        It does for a user, and for a stranger if it has `SHARED_CHARACTERS`.
        """
        return bool(self.user) or len(text) >= SHARED_CHARACTERS

    @property
    def place(self) -> str:
        """The place of a stranger: the WebSocket connection, else the client's address.

        An IPv4 address is the same on a node that listens by IPv6.
        """
        if self.connection:
            return self.connection
        try:
            address = ip_address(self.client)
        except ValueError:  # unknown, as that of a client at a Unix socket is
            return self.client
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return str(mapped or address)


class View(msgspec.Struct, frozen=True):
    """The form in which a reply is to be given.

    `representation` is a media type; over a WebSocket it is the subprotocol, or empty for none.
    `parts` is whether all parts of the reply are to be given, or the answer's text alone. `wait` is
    the seconds that a snapshot may wait for text, or None when the client named none. For
    server-sent events, `ids` is whether they have ids and comments, and `announced` whether an
    event with the reply's id alone goes before the first. For `chatsvc.v1` and `chatsvc.v2`, `key`
    is the idempotency key that is echoed in the reply's first event. `render` is whether a view of
    parts has the answer's blocks as HTML, and `rendered` where the block begins that the client has
    and that may go on (code points), or 0.
    """

    representation: str = EVENT_STREAM
    parts: bool = False
    wait: float | None = None
    ids: bool = True
    announced: bool = False
    key: str = ""
    render: bool = False
    rendered: int = 0


class Start(msgspec.Struct, frozen=True):
    """A request to start a reply.

    `key` is the text under which the store knows the idempotency key (`scoped_key`), empty for
    none. `digest` identifies the prompt: a known key with another digest is refused. `chat` is the id
    of the AI SDK's chat that the reply belongs to, or empty. `note` is what the endpoint keeps with the
    reply (see `Record`).
    """

    prompt: KeptPrompt
    caller: Caller
    key: str = ""
    digest: str = ""
    view: View = View()
    chat: str = ""
    note: str = ""


class Read(msgspec.Struct, frozen=True):
    """A request to read a reply from behind a place, or None for its end.

    Whatever the view, `after` may be a position or an offset. `shared` is whether `reply_id` is the
    token of a share link: the answer has it wherever it would have the id.
    """

    reply_id: str
    after: Place | None
    caller: Caller
    view: View = View()
    shared: bool = False


class Stop(msgspec.Struct, frozen=True):
    """A request to stop a reply, or to let others read it."""

    reply_id: str
    caller: Caller
