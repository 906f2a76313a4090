"""The connections of this node by client, and those that are beyond what a client may have.

A new connection counts for the address that it comes from, and from its first request on for the
account of whoever sends that: users behind one address don't take each other's. A trusted proxy
has no account of its own; each of its connections counts for the client of its last request.

A connection beyond the limit of its address is not closed at once: it may be from a user, or from
an operator who asks for `/healthz`. It has a second for a request. `MOST_WAITING` of one address
may wait so; for the next one the oldest gets its refusal.
"""

from __future__ import annotations

from typing import Protocol

from chatsvc.client_limits import too_many_connections
from chatsvc.users.identity import STRANGER
from chatsvc.web.identification import account_of
from chatsvc.web.metrics import Metrics
from chatsvc.web.plain_answers import beyond_answer
from chatsvc.web.proxies import TrustedProxies
from chatsvc.web.use import Use

MOST_WAITING = 16
"""Connections beyond the limit of one address that may wait for their request."""


class Counted(Protocol):
    """The part of a connection that is needed here, which is `GuardedConnection`.

    `account` is what it is counted for, or "", and `beyond` whether it is one more than that may
    have.
    """

    account: str
    beyond: bool

    def refuse_beyond(self) -> None:
        """Answer that there are too many, and close."""


class Beyond:
    """The accounts of the connections of a node, by their limits in `use`.

    Refusals are counted in `metrics`. The peers that `proxies` trusts count for nothing until they
    send a request.
    """

    def __init__(self, use: Use, proxies: TrustedProxies, metrics: Metrics) -> None:
        self._use = use
        self._metrics = metrics
        self._proxies = proxies
        # By account, the oldest first.
        self._waiting: dict[str, dict[Counted, None]] = {}

    def enter(self, connection: Counted, peername: object) -> bool:
        """Count a new connection; return whether it is beyond the limit of its address."""
        address = str(peername[0]) if isinstance(peername, tuple) else ""
        if not address or self._proxies.is_trusted(address):
            return False
        connection.account = account = account_of(STRANGER, address)
        most, count = self._use.service.connections, self._use.connections.add(account)
        if not most or count <= most:
            return False
        waiting = self._waiting.setdefault(account, {})
        waiting[connection] = None
        if len(waiting) > MOST_WAITING:
            next(iter(waiting)).refuse_beyond()
        return True

    def begin(self, connection: Counted) -> None:
        """Note that a connection does not wait for its request any more."""
        waiting = self._waiting.get(connection.account)
        if waiting is not None:
            waiting.pop(connection, None)
            if not waiting:
                del self._waiting[connection.account]

    def charge(self, connection: Counted, account: str, most: int) -> None:
        """Count a connection for the account that sends a request; `most` it may have (0: any).

        Raises `TooManyRequests` when that has too many, and this is one of those beyond.
        """
        counts = self._use.connections
        if connection.account != account:
            self.leave(connection)
            connection.account = account
            connection.beyond = counts.add(account) > most > 0
        elif connection.beyond:
            connection.beyond = counts.of(account) > most > 0
        if connection.beyond:
            raise too_many_connections(most)

    def answer(self) -> bytes:
        """Count the refusal of a connection that has sent no request, and return the answer."""
        problem = too_many_connections(self._use.service.connections or 0)
        self._metrics.limit_reached(problem)
        return beyond_answer(problem)

    def leave(self, connection: Counted) -> None:
        """Count a connection no more."""
        if connection.account:
            self.begin(connection)
            self._use.connections.remove(connection.account)
            connection.account = ""
