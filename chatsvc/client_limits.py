"""The limits of one client, which say how much of the service it may use, and their problems.

A client is a user, or an address where the service has no users.
"""

from __future__ import annotations

import msgspec

from chatsvc.problems import Overloaded, TooManyRequests

MINUTE_S = 60
"""Seconds in which the starts of a client are counted together."""

RETRY_S = 1
"""Seconds after which a client that was refused may try again: a place may be free by then."""


class ClientLimits(msgspec.Struct, frozen=True):
    """The limits of one client; 0 stands for no limit, None for the service's own limit.

    `running` are the replies that run at once, and `starts` those begun within a minute, each on
    all nodes together. `readers` are the readings, and `connections` the connections, that the
    client has open on one node.
    """

    running: int | None = None
    starts: int | None = None
    readers: int | None = None
    connections: int | None = None

    def over(self, service: ClientLimits) -> ClientLimits:
        """Return these limits, with those of `service` in the places that are None."""
        mine, its = msgspec.structs.astuple(self), msgspec.structs.astuple(service)
        return ClientLimits(
            *(b if a is None else a for a, b in zip(mine, its, strict=True))
        )


NO_LIMITS = ClientLimits(0, 0, 0, 0)
"""The limits of a client that may use all there is."""


class StartLimits(msgspec.Struct, frozen=True):
    """What the start of a reply is counted by, and the limits that it has to keep; 0 is no limit.

    `account` is the client, as `Caller.account` names it; without one ("") a reply counts only for
    `in_all`. `running` are the replies of the account that run at once, `starts` those that it
    begins within a minute, and `in_all` the replies of everybody that run at once; each counts on
    all nodes that share the store.
    """

    account: str = ""
    running: int = 0
    starts: int = 0
    in_all: int = 0


UNLIMITED = StartLimits()
"""The limits of a start that is not to be refused."""


def too_many_in_all(most: int) -> Overloaded:
    """Return the problem of a start while `most` replies run, which is the limit."""
    return Overloaded(
        f"{most} replies are running, which is the limit; try again in a moment.",
        retry_after=RETRY_S,
    )


def too_many_running(most: int) -> TooManyRequests:
    """Return the problem of a start while `most` replies of the client run, which is its limit."""
    return TooManyRequests(
        f"{most} of your replies are running, which is the limit; "
        "wait for one to end or stop it.",
        retry_after=RETRY_S,
        limit="running",
        most=most,
    )


def too_many_starts(most: int, wait_s: int) -> TooManyRequests:
    """Return the problem of a start after `most` in a minute; in `wait_s` seconds there is room."""
    return TooManyRequests(
        f"You have started {most} replies within a minute, which is the limit; "
        f"try again in {wait_s} s.",
        retry_after=wait_s,
        limit="starts",
        most=most,
        window_s=MINUTE_S,
    )


def too_many_readers(most: int) -> TooManyRequests:
    """Return the problem of a reading while the client has `most` on this node, its limit."""
    return TooManyRequests(
        f"You are reading {most} replies at once, which is the limit; end one of these.",
        retry_after=RETRY_S,
        limit="readers",
        most=most,
    )


def too_many_readers_in_all(most: int) -> Overloaded:
    """Return the problem of a reading while this node has `most`, which is its limit."""
    return Overloaded(
        f"{most} readers are here, which is the limit; try again in a moment.",
        retry_after=RETRY_S,
    )


def too_many_connections(most: int) -> TooManyRequests:
    """Return the problem of a connection beyond the `most` that the client may have on a node."""
    return TooManyRequests(
        f"You have {most} connections open, which is the limit; close one of these.",
        retry_after=RETRY_S,
        limit="connections",
        most=most,
    )
