"""The file descriptors of the process: their limit, and the reserve that answers operators.

Each connection takes a descriptor, and so does each request to a model's server. When a process has
none left, its event loop closes new connections without a word. So the last ones are a reserve.

POSIX gives a new descriptor the lowest number that is free. The number of a connection's own
descriptor therefore says whether it is one of the reserve, without anything being counted: all
below it are taken. Connections with numbers below the reserve are never more than fit below it, so
the reserve is not used up by clients that stay.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import time
from typing import Any

from aiohttp import web

from chatsvc.problems import Overloaded
from chatsvc.web.figures import Figure

resource: Any
try:
    import resource
except ImportError:  # It is not there on Windows, which has no such limit.
    resource = None

logger = logging.getLogger("chatsvc")

RESERVE = 64
"""Descriptors of the reserve; an eighth of the limit where that is less."""

SPARE = 8
"""The last descriptors of the reserve: for a connection that gets one, another one is closed.

Closing one takes a turn of the event loop, and in that turn the loop accepts another one.
"""

LOG_INTERVAL_S = 60.0
"""Seconds between two lines of the log that say that descriptors have run out."""


def descriptor_limit() -> int | None:
    """Return how many descriptors the process may have; None when there is no limit."""
    if resource is None:
        return None
    soft: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def raise_descriptor_limit() -> None:
    """Raise the soft limit of descriptors to the hard one, where the system lets us."""
    if resource is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS names no hard limit and refuses to have none: the soft one then stays.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Descriptors:
    """The reserve of descriptors below `limit`; None: there is no limit, so nothing is refused.

    `refused` counts what was refused because of it. `room` is how many connections the reserve has
    room for, without the spare ones.
    """

    def __init__(self, limit: int | None, refused: Figure) -> None:
        self.limit = limit
        reserve = 0 if limit is None else min(RESERVE, limit // 8)
        self._reserve_from = (limit or 0) - reserve
        self._spare_from = (limit or 0) - min(SPARE, reserve // 2)
        self.room = self._spare_from - self._reserve_from
        self._refused = refused
        self._logged = -LOG_INTERVAL_S  # time.monotonic() of the last line
        self._unlogged = 0

    def in_reserve(self, transport: asyncio.BaseTransport) -> bool:
        """Return whether a connection has one of the descriptors of the reserve."""
        return self.limit is not None and _number(transport) >= self._reserve_from

    def in_spare(self, transport: asyncio.BaseTransport) -> bool:
        """Return whether a connection has one of the last descriptors, which must stay free."""
        return self.limit is not None and _number(transport) >= self._spare_from

    def check(self) -> None:
        """Raise `Overloaded` when the next descriptor would be one of the reserve.

        It is for what takes a descriptor later on, as a reply from a model's server does.
        """
        if self.limit is None:
            return
        try:
            lowest = os.dup(2)
        except OSError as error:
            if error.errno != errno.EMFILE:  # The process has no stderr.
                return
            lowest = self.limit
        else:
            os.close(lowest)
        if lowest >= self._reserve_from:
            raise self.overloaded()

    def overloaded(self) -> Overloaded:
        """Count and log a refusal; return the problem that says it."""
        self.refuse()
        return Overloaded(
            "The service has no file descriptors left; try again in a moment.",
            retry_after=1,
        )

    def refuse(self) -> None:
        """Count a refusal, and log it if none was logged for `LOG_INTERVAL_S`."""
        self._refused.inc()
        self._unlogged += 1
        now = time.monotonic()
        if now - self._logged < LOG_INTERVAL_S:
            return
        data = {"limit": self.limit, "refused": self._unlogged}
        logger.warning("file descriptors have run out", extra={"data": data})
        self._logged, self._unlogged = now, 0


def _number(transport: asyncio.BaseTransport) -> int:
    sock = transport.get_extra_info("socket")
    return -1 if sock is None else int(sock.fileno())


DESCRIPTORS = web.AppKey("descriptors", Descriptors)
"""The key of the application's descriptors."""
