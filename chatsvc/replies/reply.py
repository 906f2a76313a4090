"""A reply as transports and handlers see it: its record, its log, and its readers on this node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from chatsvc.log import Log
from chatsvc.model import Context, End, PromptInContext
from chatsvc.problems import CursorPastEnd
from chatsvc.replies.departure import Departure
from chatsvc.replies.parts_reader import PartsReader
from chatsvc.replies.reader import ReplyReader
from chatsvc.replies.spans import ReplySpan
from chatsvc.stores.base import Record
from chatsvc.ticker import Ticker, monotonic


class _ReaderCount:
    """A context manager that counts one reader of a reply while its block runs.

    It is a class, not a generator function, for each stream holds one for as long as it lasts.
    """

    __slots__ = ("_reply",)

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def __enter__(self) -> None:
        self._reply.add_reader()

    def __exit__(self, *_: object) -> None:
        self._reply.remove_reader()


class Reply:
    """An append-only text with one end (PROTOCOL.md section 1), as this node knows it.

    `record` is what was known at its start, `log` its text and end. `readers` is how many read it
    here; `produced` is whether a producer on this node writes it. `grace` is the timer that stops
    the reply when no reader comes, or None when no such timer runs. `started` is when this node
    opened the reply, in microseconds of the monotonic clock. `span` is its span in a trace while
    this node produces it, None where there are no traces.

    `on_change` is called with the reply when its first reader comes, when its last one leaves, and
    when its production begins or ends here.
    """

    __slots__ = (
        "__weakref__",
        "_on_change",
        "departure",
        "grace",
        "log",
        "produced",
        "readers",
        "record",
        "span",
        "started",
        "ticker",
    )

    def __init__(
        self,
        record: Record,
        log: Log,
        ticker: Ticker,
        departure: Departure,
        on_change: Callable[[Reply], None],
    ) -> None:
        self.record = record
        self.log = log
        self.ticker = ticker
        self.departure = departure
        self.readers = 0
        self.produced = False
        self.grace: asyncio.TimerHandle | None = None
        self.started = monotonic()
        self.span: ReplySpan | None = None
        self._on_change = on_change

    def age(self) -> float:
        """Return the seconds since this node opened the reply."""
        return (monotonic() - self.started) / 1e6

    def prompt(self) -> PromptInContext:
        """Return the prompt for the backend: with the text that is there already, and the context."""
        record = self.record
        kept, context = record.prompt, record.context
        asked = kept.read()
        written = self.log.text(0) if self.log.size else ""
        return PromptInContext(
            asked.messages,
            written,
            asked.options,
            Context(
                user=record.user,
                reply=self.id,
                chat=context.chat,
                options=asked.options,
                headers=context.headers,
            ),
            kept.json,
            {} if self.span is None else self.span.headers,
        )

    @property
    def id(self) -> str:
        """The reply id."""
        return self.log.reply_id

    @property
    def end(self) -> End | None:
        """How the reply ended, or None while it runs."""
        return self.log.end

    @property
    def state(self) -> str:
        """`running`, `done`, `stopped` or `failed`."""
        return self.log.end.state if self.log.end is not None else "running"

    def released_now(self) -> int:
        """Read the clock and return the position (code points) up to which text is released by now.

        It may be ahead of the ticker's present turn, so call `Ticker.refresh` before `take`, which
        goes by that turn, for a reader to find as much.
        """
        return self.log.released(self.ticker.clock.horizon())

    def released_offset_now(self) -> int:
        """Read the clock and return the offset up to which the reply is out by now.

        As `released_now`, it may be ahead of the ticker's present turn.
        """
        return self.log.released_offset(self.ticker.clock.horizon())

    def check(self, after: int) -> None:
        """Raise `CursorPastEnd` when the reply has not reached position `after`, as known here.

        A position that has arrived but isn't released yet is accepted: on another node, whose clock
        may be ahead, it may have been released.
        """
        if after > self.log.position:
            raise CursorPastEnd(
                f"The reply has reached position {self.log.position}, not {after}."
            )

    def check_offset(self, offset: int) -> None:
        """Raise `CursorPastEnd` when the reply has not reached `offset`, as known here."""
        if offset > self.log.offset:
            raise CursorPastEnd(
                f"The reply has reached offset {self.log.offset}, not {offset}."
            )

    # ------------------------------------------------------------------ reading

    def reading(self) -> _ReaderCount:
        """Return a context manager that counts one reader for as long as its block runs.

        A reply that is produced here and has no reader is given up after the seconds of grace.
        """
        return _ReaderCount(self)

    def characters(self, after: int = 0) -> ReplyReader:
        """Return a reader of the text behind position `after` (code points); close it after use."""
        return ReplyReader(self.log, self.ticker, self.departure, after)

    def parts(self, after: int = 0) -> PartsReader:
        """Return a reader of all units behind the offset `after`; close it after use."""
        return PartsReader(self.log, self.ticker, self.departure, after)

    def add_reader(self) -> None:
        """Count one more reader; `reading` does so for a block, and takes it back."""
        self.readers += 1
        if self.readers == 1:
            self._on_change(self)

    def remove_reader(self) -> None:
        """Count one reader less."""
        self.readers -= 1
        if not self.readers:
            self._on_change(self)

    # ------------------------------------------------------------------ for this package

    def set_produced(self, produced: bool) -> None:
        """Note whether a producer on this node writes the reply. Only `Producers` calls it."""
        self.produced = produced
        self._on_change(self)

    def start_grace(self, seconds: float, then: Callable[[], object]) -> None:
        """Call `then` after `seconds`, unless it is cancelled. Only `Registry` calls it."""
        self.grace = asyncio.get_running_loop().call_later(seconds, then)

    def cancel_grace(self) -> None:
        """Stop the timer of `start_grace`, if there is one. Only `Registry` calls it."""
        if self.grace is not None:
            self.grace.cancel()
            self.grace = None
