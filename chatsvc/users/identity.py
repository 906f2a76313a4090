"""What is known of the sender of a request."""

from __future__ import annotations

import msgspec

from chatsvc.client_limits import ClientLimits

CHAT = "chat"
"""The scope of those who may start, read and stop their own replies."""

ADMIN = "admin"
"""The scope of those who may read the figures of the service."""


class Identity(msgspec.Struct, frozen=True):
    """The sender of a request: a user of a name, or, with an empty name, a stranger.

    `key` is the SHA-256 of the API key that the identity rests on, in hexadecimal digits, or empty
    where it rests on none: with the key the identity ends. `scopes` are what it may do, and
    `limits` how much of the service it may use. `reply` is the id of the only reply that it may
    read, and empty where it may read all that are the user's. `ticket` is the name of the ticket
    that it rests on, which may have one reply alone, and empty where it rests on none.
    """

    user: str = ""
    key: str = ""
    scopes: frozenset[str] = frozenset({CHAT})
    limits: ClientLimits = ClientLimits()
    reply: str = ""
    ticket: str = ""


STRANGER = Identity()
"""The sender of a request to a service that has no users."""
