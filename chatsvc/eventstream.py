"""An incremental parser of event streams (`text/event-stream`, WHATWG HTML section 9.2).

It takes bytes as they come off a connection and yields events. It never awaits and knows no
connection; `chatsvc ask`, the `openai` backend and the tests feed it.

Invariants:

- The cuts between chunks change nothing: not in a code point, not between CR and LF, not
  in the byte order mark, and not for a stream that breaks the limit.
- An event is yielded as soon as the first byte of its blank line is there. A CR ends a line
  at once; if the LF that belongs to it comes later, it is dropped then.
- Memory is bounded by the limit and by the chunk being fed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

DEFAULT_LIMIT_BYTES = 1 << 20
"""The default limit of one line, and of the data of one event, in bytes."""

BOM = b"\xef\xbb\xbf"
"""The byte order mark in UTF-8, which may stand at the start of a stream."""

LONGEST_RETRY_MS = 10**18
"""The reconnection time, in milliseconds, that a longer one counts as: 30 million years."""


class Event(NamedTuple):
    """One dispatched event (WHATWG HTML section 9.2.6)."""

    data: str
    """The values of its `data` fields, joined by line feeds."""
    event: str = "message"
    """The type: the value of its `event` field."""
    id: str = ""
    """The stream's last event id at the time of dispatch: from this event or an earlier one."""


class Comment(NamedTuple):
    """A line that starts with a colon.

    The standard ignores it; chatsvc sends its heartbeats so (PROTOCOL.md section 3).
    """

    text: str
    """The whole line after the colon, with a leading space if there is one."""


class EventStreamError(ValueError):
    """Raised when a line, or the data of an event, is over the limit.

    `what` names which of them, `limit` is in bytes; both are in the message. All events before it
    have been yielded.
    """

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"{what} of the event stream is longer than {limit} bytes")


class EventStreamParser:
    """The parser of one event stream, from its first byte on.

    `limit` bounds a line and the data of an event, each in bytes. `keep_strays` has it keep lines
    that the standard ignores, in `strays`.
    """

    def __init__(
        self, *, limit: int = DEFAULT_LIMIT_BYTES, keep_strays: bool = False
    ) -> None:
        self.retry: int | None = None
        """The last `retry` of the stream in milliseconds, at most `LONGEST_RETRY_MS`, or None."""
        self.last_event_id = ""
        """The last event id, which events without data set as well."""
        self.strays: list[bytes] = []
        """The lines that start with an opening brace, for the caller to take out.

        They are no fields that the standard knows, but some servers write an error as a bare line
        of JSON into a stream. Empty without `keep_strays`.
        """
        self._keep_strays = keep_strays
        self._limit = limit
        self._partial = bytearray()  # a line whose end has not come yet
        self._after_cr = False
        self._at_start = True
        self._data: list[bytes] = []
        self._data_size = 0
        self._event = ""
        self._id = ""

    @property
    def between_events(self) -> bool:
        """Whether the next byte begins a line and an event, and nothing before has a part in it.

        False before the first byte, too: a byte order mark may come.
        """
        return not (
            self._partial
            or self._data
            or self._event
            or self._after_cr
            or self._at_start
        )

    def pass_start(self) -> None:
        """Let the next byte count as one behind the start, where no byte order mark is looked for."""
        self._at_start = False

    def feed(self, chunk: bytes) -> Iterator[Event | Comment]:
        """Yield, in order, the events and comments that `chunk` completes.

        Iterate to the end before the next call. What is incomplete when the stream ends
        is never yielded. [spec] "Once the end of the file is reached, any pending data
        must be discarded."

        The iteration raises `EventStreamError` when the stream breaks the limit; the
        parser can't be used after that.
        """
        if chunk and self._after_cr:
            self._after_cr = False
            if chunk[0] == 0x0A:
                chunk = chunk[1:]
        # [spec] "a [CRLF] character pair, a single [LF] character not preceded by a [CR]
        # character, and a single [CR] character not followed by a [LF] character being
        # the ways in which a line can end". Both are ASCII, so they stand in no other
        # code point and lines can be cut before they are decoded; and bytes, unlike
        # str, split at nothing else.
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r")) + 1
        if not end:
            self._partial += chunk
            return self._interpret([])
        self._after_cr = end == len(chunk) and chunk[-1] == 0x0D
        whole = chunk if end == len(chunk) else chunk[:end]
        if self._partial:
            whole = bytes(self._partial) + whole
        self._partial = bytearray(chunk[end:])
        return self._interpret(whole.splitlines())

    def end(self) -> Iterator[Event | Comment]:
        """Yield what a blank line behind the last byte would complete; raises as `feed` does.

        The standard has such an event discarded, since a connection may have broken in the middle
        of it. It is for a stream that is known to be whole. Call it once, as the last.
        """
        last, self._partial = bytes(self._partial), bytearray()
        return self._interpret([last, b""] if last else [b""])

    def _interpret(self, lines: list[bytes]) -> Iterator[Event | Comment]:
        if lines and self._at_start:
            # [spec] "The UTF-8 decode algorithm strips one leading UTF-8 Byte Order
            # Mark (BOM), if any."
            self._at_start = False
            lines[0] = lines[0].removeprefix(BOM)
        limit = self._limit
        for line in lines:
            if not line:
                # [spec] "If the line is empty (a blank line): Dispatch the event"
                if (event := self._dispatch()) is not None:
                    yield event
                continue
            if len(line) > limit:
                raise EventStreamError("a line", limit)
            if self._keep_strays and line.startswith(b"{"):
                self.strays.append(line)
                continue
            # [spec] "If the line contains a U+003A COLON character (:): Collect the
            # characters on the line before the first [one], and let field be that
            # string." Without one: "using the whole line as the field name, and the
            # empty string as the field value".
            field, _, value = line.partition(b":")
            if not field:
                yield Comment(_decode(value))
                continue
            # [spec] "If value starts with a U+0020 SPACE character, remove it"
            if value[:1] == b" ":
                value = value[1:]
            if field == b"data":
                # [spec] "Append the field value to the data buffer, then append a
                # single U+000A LINE FEED (LF) character to the data buffer."
                self._data.append(value)
                self._data_size += len(value) + 1
                if self._data_size > limit + 1:  # the last LF is taken off again
                    raise EventStreamError("an event", limit)
            elif field == b"id":
                # [spec] "If the field value does not contain U+0000 NULL, then set the
                # last event ID buffer to the field value. Otherwise, ignore the field."
                if b"\0" not in value:
                    self._id = _decode(value)
            elif field == b"event":
                self._event = _decode(value)
            elif field == b"retry" and value.isdigit():
                # [spec] "If the field value consists of only ASCII digits, then
                # interpret the field value as an integer in base ten". int() takes no
                # more than 4,300 of them, and needs ever more time for each.
                digits = value.lstrip(b"0") or b"0"
                self.retry = int(digits) if len(digits) <= 18 else LONGEST_RETRY_MS
        if len(self._partial) > limit:
            # The byte order mark, whole or not yet, is no part of the line.
            mark = self._at_start and BOM.startswith(self._partial[: len(BOM)])
            if len(self._partial) > limit + (len(BOM) if mark else 0):
                raise EventStreamError("a line", limit)

    def _dispatch(self) -> Event | None:
        # [spec] "Set the last event ID string of the event source to the value of the
        # last event ID buffer. The buffer does not get reset"
        self.last_event_id = self._id
        kind, self._event = self._event, ""
        # [spec] "If the data buffer is an empty string, set the data buffer and the
        # event type buffer to the empty string and return." One `data` line of no
        # characters puts an LF there, so it does dispatch.
        if not self._data:
            return None
        # [spec] "If the data buffer's last character is a U+000A LINE FEED (LF)
        # character, then remove the last character from the data buffer."
        lines = self._data
        data = _decode(lines[0] if len(lines) == 1 else b"\n".join(lines))
        self._data = []
        self._data_size = 0
        return Event(data, kind or "message", self._id)


def _decode(value: bytes) -> str:
    # [spec] "Streams must be decoded using the UTF-8 decode algorithm", which puts a
    # U+FFFD for each maximal part of a sequence that can't be decoded, as Python does.
    return value.decode("utf-8", "replace")
