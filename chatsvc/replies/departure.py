"""The departure of a node: whether its readers are sent to other nodes."""

from __future__ import annotations


class SentAway(Exception):
    """Raised from a reader when its node leaves: the reply goes on, and can be read elsewhere."""


class Departure:
    """Whether this node sends its readers away; one object that all readers of a node share.

    `leaving` becomes true when `begin` is called, and stays so. Readers check it only when they
    look up their segment of the log, so the caller of `begin` has them do that by `Log.interrupt`.
    """

    __slots__ = ("leaving",)

    def __init__(self) -> None:
        self.leaving = False

    def begin(self) -> None:
        """Send all readers away from now on."""
        self.leaving = True
