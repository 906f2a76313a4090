"""Event streams of model servers, split quickly: bytes of a body in, the data of events out.

Nearly every event of a model's stream is one line, `data: {…}`, and a blank one, and nearly every
read ends behind such an event. These are cut out by `bytes.split`; everything else goes through
`EventStreamParser`.
"""

from __future__ import annotations

from collections.abc import Iterator

from chatsvc.eventstream import BOM, Comment, Event, EventStreamError, EventStreamParser

STRAY = ""
"""The type of an item that is a line outside of the format of event streams."""


Item = tuple[bytes, str]
"""The data of one event and its type; or a line that may be an error, with the type `STRAY`.

The data is UTF-8, or as it came if it is not.
"""


class QuickEvents:
    """The splitter of one body, whose events and lines are limited to `limit` bytes.

    `too_long` is true once one of them is longer; what comes after that is nothing. `between_events` is
    whether the next byte begins an event.

    Invariants:

    - The items are those of an `EventStreamParser` without its comments, in their order, however
      the body is cut; only bytes that are no UTF-8 may still be in them.
    - Lines that start with an opening brace, which are no fields of an event, are items as well.
    """

    def __init__(self, limit: int) -> None:
        self.too_long = False
        self._limit = limit
        # Most bodies need none, and it costs as much as to cut four events.
        self._parser: EventStreamParser | None = None
        self.between_events = False
        self._begun = False

    def feed(self, data: bytes) -> list[Item]:
        """Return the items that the next bytes complete."""
        items: list[Item] = []
        if data and not self._begun:
            self._begun = True
            self.between_events = data[:1] != BOM[:1]
        if not self.between_events:
            # The event that is half here goes the exact way, to its end.
            end = data.find(b"\n\n") + 2
            if end < 2 or end == len(data):
                self._feed_parser(data, items)
                return items
            self._feed_parser(data[:end], items)
            data = data[end:]
        if not self.between_events or b"\r" in data or len(data) > self._limit:
            self._feed_parser(data, items)
            return items
        blocks = data.split(b"\n\n")
        begin = 0
        for block in blocks[:-1]:
            if not block.startswith(b"data: ") or b"\n" in block:
                break
            items.append((block[6:], "message"))
            begin += len(block) + 2
        # In one go: it would cost more to come back to the quick way behind each other event.
        if begin < len(data):
            self._feed_parser(data[begin:], items)
        return items

    def end(self) -> list[Item]:
        """Return the items that a clean end of the body completes; call it once."""
        items: list[Item] = []
        if self._parser is not None:
            self._collect(self._parser.end(), self._parser.strays, items)
        return items

    def _feed_parser(self, data: bytes, items: list[Item]) -> None:
        if self.too_long:
            return
        parser = self._parser
        if parser is None:
            parser = EventStreamParser(limit=self._limit, keep_strays=True)
            self._parser = parser
            if self.between_events:  # what came before had no mark of the byte order
                parser.pass_start()
        self._collect(parser.feed(data), parser.strays, items)
        self.between_events = parser.between_events

    def _collect(
        self, events: Iterator[Event | Comment], strays: list[bytes], items: list[Item]
    ) -> None:
        try:
            for event in events:
                items += ((line, STRAY) for line in strays)
                strays.clear()
                if not isinstance(event, Comment):
                    items.append((event.data.encode(), event.event))
        except EventStreamError:
            self.too_long = True
        items += ((line, STRAY) for line in strays)
        strays.clear()
