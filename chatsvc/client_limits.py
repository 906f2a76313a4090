"""The limits of one client: how much of the service it may use at once."""

from __future__ import annotations

import msgspec


class ClientLimits(msgspec.Struct, frozen=True):
    """The limits of one client; 0 stands for no limit, None for the service's own limit.

    `running` are the replies that run at once, and `starts` those begun within a minute, each on
    all nodes together. `readers` are the readings, and `connections` the connections, that the client
    has open on one node.
    """

    running: int | None = None
    starts: int | None = None
    readers: int | None = None
    connections: int | None = None
