"""The phases of a connection to a client: what the bytes belong to that it receives."""

from __future__ import annotations

import enum


class Phase(enum.Enum):
    """What the bytes that a connection receives belong to."""

    IDLE = enum.auto()
    """Nothing yet: the next byte begins a head."""
    HEAD = enum.auto()
    """A head that has begun and is not whole."""
    READ = enum.auto()
    """A head that is whole and whose request is about to begin."""
    REQUEST = enum.auto()
    """The body of a request that is being answered, or what follows it."""
    DISCARD = enum.auto()
    """The rest of a body whose request has been answered without it."""
    REFUSED = enum.auto()
    """Nothing any more: the connection is about to close."""
