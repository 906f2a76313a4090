"""The interface of a store, `Store`.

A store keeps, for each reply, its log and its record, and which reply an idempotency key or a
name stands for. `Store` is what every store does. `Cluster` is what one does in addition that
several nodes (server processes) share; a store that serves one node alone has a `SingleNode` in
its place, so callers need not ask which of the two they have.

Every failure that a client may see is a `Problem`; `KeyReused` and `NotWritable` are for the
callers in `chatsvc.replies`, and `StoreMisconfigured` for whoever starts the service.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from chatsvc.client_limits import UNLIMITED, StartLimits
from chatsvc.kept_prompt import KeptPrompt
from chatsvc.log import Log
from chatsvc.model import Context, End
from chatsvc.stores.cluster import Cluster
from chatsvc.ticker import Clock
from chatsvc.units import Unit

EXPIRED = "The reply has ended and its text is no longer kept."
"""The detail of a `ReplyExpired` problem."""

REMEMBERED_S = 24 * 3600
"""Seconds for which the id of an expired reply, an idempotency key and (in Redis) a name are known
(PROTOCOL.md section 7)."""


STORE_FAILURES = (
    "away",
    "busy",
    "full",
    "replica",
    "cannot-save",
    "denied",
    "refused",
)
"""The reasons by which failures of a store are counted.

It does not answer; is loading or held by a script; has no memory left; has become a replica; can't
write to its disk or its replicas; demands another password or right; refuses for another reason.
"""


class Record(msgspec.Struct, frozen=True):
    """The facts about a reply that are known when it starts and never change.

    `prompt` is what is asked; of an ended reply it is the question alone.
    `user` is the name of the user who asked for it, empty without authorization. `key` is the
    idempotency key, with the place that it is known in if it is not known everywhere, and empty if
    none was sent; `digest` identifies the request that came with it.
    `context` is what the backend may know of the request: its `chat` and `headers`; the other members
    of it are made of the rest.
    `note` is a text of the endpoint that started the reply, which any node reads again to give the
    reply; empty for most.
    `pace` (microseconds between two characters) and `lag` (microseconds that release may fall
    behind arrival, None: any) are those of the reply's `Log`.
    `trace` are the headers of W3C Trace Context that name the reply's span, empty without traces.
    """

    reply_id: str
    prompt: KeptPrompt
    user: str = ""
    key: str = ""
    digest: str = ""
    pace: int = 0
    lag: int | None = None
    context: Context = Context()
    note: str = ""
    trace: dict[str, str] = {}

    def new_log(self) -> Log:
        """Return an empty log of the reply, whose end drops the prompt but for the question."""
        log = Log(self.reply_id, pace=self.pace, lag=self.lag)
        log.prompt = self.prompt
        return log


class KeyReused(Exception):
    """The error for an idempotency key that was used before, with another request."""


class NotWritable(Exception):
    """The error for a write to a reply that has its end, or that another node owns."""


class StoreMisconfigured(ValueError):
    """The error of a store that answers, and can't be used as it is set up.

    It refuses the user's password, the user lacks a right, or a later version keeps its replies
    there.
    """


class Store(Protocol):
    """The interface that every store implements.

    `clock` is the time by which characters are released: `Log` computes with it. On a node there is
    one live `Log` for each reply that is in use: whatever any node appends arrives in it.
    """

    clock: Clock

    @property
    def cluster(self) -> Cluster:
        """The part of the store that concerns other nodes."""
        ...

    @property
    def kept_bytes(self) -> int:
        """The bytes of memory of the ended replies that are kept in this process."""
        ...

    async def open(self) -> None:
        """Connect, and start background work; called once, before anything else.

        Raises `StoreUnavailable` when the store can't be reached, and `StoreMisconfigured` when it
        answers and refuses the user.
        """

    async def close(self) -> None:
        """Disconnect, and stop background work; called once."""

    def on_failure(self, note: Callable[[str], None]) -> None:
        """Call `note` from now on with the reason, of `STORE_FAILURES`, of each failed request.

        Also a request that succeeds when it is repeated has failed before.
        """

    def ready(self) -> bool:
        """Return whether the store can be used now (for `/readyz`)."""
        ...

    async def create(self, record: Record, limits: StartLimits = UNLIMITED) -> str:
        """Create the reply that a record describes, and return its id.

        If `record.key` was used before with the same request, nothing is created, and the id of
        that reply is returned. A store that several nodes share counts the replies of all of them,
        and raises `Overloaded` or `TooManyRequests` in place of exceeding `limits`; where one node
        is alone, `Admission` has counted them. Raises `KeyReused` and `ReplyExpired` as `known`
        does, and `StoreUnavailable`.
        """
        ...

    async def known(self, record: Record) -> str | None:
        """Return the id of the reply that was created with `record.key`, or None if none was.

        Raises `KeyReused` when the key was used with another digest, `StoreUnavailable`, and (some
        stores) `ReplyExpired` when that reply is no longer kept.
        """
        ...

    async def find(self, reply_id: str) -> tuple[Record, Log]:
        """Return a reply's record, and its live log with all that has arrived.

        Of the prompt of an ended reply the question alone is there, unless a node of an older
        version has set the end. Raises `ReplyNotFound` for an id that was never given,
        `ReplyExpired` for one whose text is no longer kept, and `StoreUnavailable`.
        """
        ...

    async def append(self, log: Log, text: str) -> None:
        """Append text, whole characters only, to a reply that this node owns.

        A shared store may return before the text has arrived in `log`. Raises `NotWritable`, and
        `StoreUnavailable`, perhaps for an earlier call.
        """

    async def append_side(self, log: Log, units: Sequence[Unit]) -> None:
        """Append side units behind all that was appended, to a reply that this node owns.

        The text that was appended must be whole characters. Returns and raises as `append`.
        """

    def has_room(self, log: Log) -> bool:
        """Return whether `append_now` and `append_side_now` may be called for the reply now.

        Not after its end, or where this node doesn't own it; nor while `append` would wait, or raise
        for an earlier call.
        """
        ...

    @property
    def append_now(self) -> Callable[[Log, str], None] | None:
        """The function that does what `append` does without waiting, or None if the store waits.

        It raises `NotWritable`. It takes one short piece; before the next one `has_room` is to be asked.
        """
        ...

    @property
    def append_side_now(self) -> Callable[[Log, Sequence[Unit]], None] | None:
        """The function that does what `append_side` does without waiting, or None, as `append_now`.

        It raises `NotWritable`.
        """
        ...

    def note_usage(self, log: Log, usage: dict[str, Any]) -> None:
        """Note what a reply that this node owns has used so far, as OpenAI's usage object.

        Any end of the reply that has no usage of its own gets the last one that was noted; where
        another node sets the end, the last one that was noted before something else was appended.
        """

    async def seal(self, log: Log, planned_end: End) -> None:
        """Declare the text complete, and say which end is to follow once all of it is released.

        Returns when all that was appended is stored. Raises `NotWritable` and `StoreUnavailable`.
        """

    async def finish(self, log: Log, end: End) -> bool:
        """Set the end of a reply, and return when `log` has it.

        Returns whether this call has set it as the reply's owner; False for a stop in a shared
        store. An end without usage gets that of `note_usage`. If the reply has its end already,
        that one stands. In a shared store any node may stop a reply; any other end is set by the
        owner alone, and a call on another node does nothing. Raises `StoreUnavailable`.
        """

    @property
    def finish_now(self) -> Callable[[Log, End], None] | None:
        """The function that does what `finish` does without waiting, or None if the store waits."""
        ...

    async def refresh(self, log: Log) -> None:
        """Wait until all that was stored before the call, by any node, has arrived in `log`.

        Raises `StoreUnavailable`.
        """

    async def remember(
        self, name: str, value: str, *, only_new: bool = False
    ) -> str | None:
        """Let `name` stand for a reply's id or token; return what it stood for before, if anything.

        With `only_new` a name that stands for something is left as it is. A store in Redis keeps
        names for `REMEMBERED_S`, and as much longer as it keeps an ended reply; one in memory keeps
        a number of them, and forgets the one that was set longest ago. Raises `StoreUnavailable`.
        """
        ...

    async def recall(self, name: str) -> str | None:
        """Return what `name` stands for, or None. Raises `StoreUnavailable`."""
        ...

    async def forget(self, name: str, value: str) -> None:
        """Let `name` stand for nothing, if it stands for `value`. Raises `StoreUnavailable`."""
