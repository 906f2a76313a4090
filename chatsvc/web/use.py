"""The use that clients make of this node: who reads and who is connected, and how much each may.

A client is an account (`chatsvc.web.identification`). What runs and starts is counted in
`chatsvc.replies`, for all nodes; what is here is counted on this node alone.

Invariant: an account is known only while it has something open, so the counts are never larger than
the number of open connections and readings.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from chatsvc.client_limits import (
    NO_LIMITS,
    ClientLimits,
    too_many_readers,
    too_many_readers_in_all,
)
from chatsvc.problems import TooManyRequests
from chatsvc.requests.values import Caller
from chatsvc.settings import Settings

MOST_READERS = 20_000
"""Readers that a node has at most in all, or `READERS_FACTOR` times what one client may have.

The larger of both counts.
"""

READERS_FACTOR = 20
"""The readers that a node may have in all, divided by those that one client may have."""


def most_readers(settings: Settings) -> int:
    """Return how many readers a node has at most in all, unless `--limits off` lifts that."""
    return max(MOST_READERS, READERS_FACTOR * settings.max_readers)


NO_OWN_LIMITS = ClientLimits()
"""The own limits of a client that has none: the service's hold for it."""


class OpenCounts:
    """How many of something each account has open; 0 is not kept."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self.total = 0

    def __len__(self) -> int:
        """Return how many accounts have any."""
        return len(self._counts)

    def of(self, account: str) -> int:
        """Return how many an account has."""
        return self._counts.get(account, 0)

    def add(self, account: str) -> int:
        """Count one more of an account, and return how many it has now."""
        count = self._counts[account] = self._counts.get(account, 0) + 1
        self.total += 1
        return count

    def remove(self, account: str) -> None:
        """Count one less of an account that has one."""
        count = self._counts.pop(account) - 1
        if count:
            self._counts[account] = count
        self.total -= 1


class Place:
    """The place of one reading, from `Use.take_place` until `leave`, or the end of its block.

    A place that is forgotten is left: an application around this one may drop an answer that it was
    given, before a byte of it is sent.
    """

    __slots__ = ("_account", "_readers", "then")

    def __init__(self, readers: OpenCounts, account: str) -> None:
        self.then: Callable[[], None] | None = None
        """What is called once when the place is left, if anything."""
        self._readers: OpenCounts | None = readers
        self._account = account
        readers.add(account)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Give the place back; to do so again is no error."""
        readers, self._readers = self._readers, None
        if readers is not None:
            readers.remove(self._account)
            if self.then is not None:
                self.then()

    def __del__(self) -> None:
        self.leave()


class Use:
    """The limits of clients by `settings`, and what clients have open on this node.

    `service` are the limits of a client that has none of its own. With `--limits off` nobody has
    any.
    """

    def __init__(self, settings: Settings) -> None:
        self._off = settings.limits == "off"
        self.service = ClientLimits(
            running=settings.max_per_client,
            starts=settings.max_starts,
            readers=settings.max_readers,
            connections=settings.max_connections,
        )
        self.max_replies = settings.max_replies
        if self._off:
            self.service, self.max_replies = NO_LIMITS, 0
        self._max_readers = most_readers(settings)
        self.readers = OpenCounts()
        self.connections = OpenCounts()

    def limits_of(self, own: ClientLimits) -> ClientLimits:
        """Return the limits of a client that has `own` ones; none of them is None."""
        if self._off or own == NO_OWN_LIMITS:
            return self.service
        return own.over(self.service)

    def take_place(self, caller: Caller) -> Place:
        """Return the place of one more reading of a client.

        Raises `Overloaded` when the node has as many as it may have, and `TooManyRequests` when the
        client has.
        """
        readers, most = self.readers, caller.limits.readers
        if readers.total >= self._max_readers and not self._off:
            raise too_many_readers_in_all(self._max_readers)
        if most and readers.of(caller.account) >= most:
            raise too_many_readers(most)
        return Place(readers, caller.account)


def rate_limit_headers(problem: TooManyRequests) -> dict[str, str]:
    """Return the headers that say which limit a client has reached, and when it has room again.

    They are those of draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4, and lists of
    structured fields (RFC 9651) with one item. What is counted while it is open is in the unit
    `concurrent-requests`, and has no time at which there is room.
    """
    policy, state = f'"{problem.limit}";q={problem.most}', f'"{problem.limit}";r=0'
    if problem.window_s is None:
        policy += ';qu="concurrent-requests"'
    else:
        policy += f";w={problem.window_s}"
        state += f";t={problem.retry_after or 0}"
    return {"RateLimit-Policy": policy, "RateLimit": state}


USE = web.AppKey("use", Use)
"""The key of the application's limits of clients, and of what they have open."""
