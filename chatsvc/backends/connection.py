"""A connection to a model's server over HTTP/1.1: a request out, the bytes of its response in.

What arrives goes to a `Receiver` in the very call that brings it, without a task or a queue in
between. `chatsvc.backends.direct` makes the connections and keeps those that may be used again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from chatsvc.backends.body import TURN_BYTES, work_of
from chatsvc.backends.deadline import DeadlineTimer
from chatsvc.backends.http_response import HttpResponse
from chatsvc.backends.inflate import Inflater, inflater
from chatsvc.backends.receivers import DRAIN_S, Rest
from chatsvc.backends.response import Receiver
from chatsvc.backends.wake_up import WakeUp
from chatsvc.problems import BackendFailed
from chatsvc.tracebacks import without_tracebacks

HELD_LIMIT = 16 * 1024
"""The code points that may wait to be taken on; while there are more, the connection isn't read."""


class Connection(asyncio.Protocol):
    """The client's end of one connection: one request and its response at a time.

    `on_free` is called with the connection, and the response that has ended, when another request
    may follow; `on_lost` when the connection is closed. An exchange is one call of `ask`, then
    `head`, then `start` and calls of `more`, and `close` in any case. `used` is whether there was
    an exchange before.

    Invariants:

    - In one turn of the event loop at most `TURN_BYTES` are parsed, or unpacked, and fed to the
      receiver. While more has come, nothing is read.
    - While nobody takes what has come, at most `HELD_LIMIT` and what one turn brings is held; the
      rest stays with the kernel, and so with the server.
    - What breaks HTTP, or the limits of `HttpResponse`, breaks the connection.
    - Between exchanges and once closed it is part of no cycle.
    """

    def __init__(
        self,
        on_free: Callable[[Connection, HttpResponse], None],
        on_lost: Callable[[Connection], None],
    ) -> None:
        self.used = False
        self.response: HttpResponse | None = None
        self.idle_timer: asyncio.TimerHandle | None = None  # for the pool
        self._on_free = on_free
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._timer: DeadlineTimer | None = None  # during an exchange
        # Of asyncio, or of uvloop, which is no subclass of it.
        self._transport: Any = None
        self._receiver: Receiver | None = None
        self._inflater: Inflater | None = None
        self._steps: Iterator[bytes] | None = None  # of what is being unpacked
        self._pending = b""  # what has come and is not parsed
        self._scheduled = False  # the turn for what is pending
        self._flows = False  # what comes next may go to the receiver at once
        self._held_up = False  # until more is taken on
        self._paused = False
        self._lost = False  # nothing more comes
        self._reset = False  # it was lost by an error
        self._news = WakeUp(self._loop)  # for the task that asked

    # ------------------------------------------------------------------ one exchange

    @property
    def status(self) -> int:
        """The status of the response, once its head has come."""
        return self.response.status if self.response is not None else 0

    @property
    def answered(self) -> bool:
        """Whether anything of a response has come, complete or not."""
        return self.response is not None and self.response.begun

    @property
    def fields(self) -> Mapping[str, str]:
        """The fields of the response's head: those of `KEPT_FIELDS` that it has."""
        return self.response.fields if self.response is not None else {}

    def ask(self, request: bytes) -> None:
        """Send a request, head and body, whole. Raises `ConnectionError` if the server has left."""
        if self._lost or self._transport.is_closing():
            raise ConnectionResetError
        self.response = HttpResponse()
        self._transport.write(request)

    async def head(self) -> None:
        """Return when the head of the response has come. Raises `ConnectionError` if none comes."""
        while self.response is not None and not self.response.headed:
            if self._lost:
                raise ConnectionResetError
            await self._news.wait()
        if self.response is None:  # closed meanwhile
            raise ConnectionAbortedError

    def start(self, receiver: Receiver) -> None:
        """Feed the content to `receiver`, unpacked, from its first byte on. Call it after `head`."""
        self._receiver = receiver
        try:
            self._inflater = inflater(self.fields.get("content-encoding", ""))
        except BackendFailed as error:
            receiver.fail(without_tracebacks(error))
            return
        self._timer = DeadlineTimer(self._loop, self._tick)
        if not self._scheduled:
            self._go_on()

    async def more(self) -> None:
        """Return when the receiver holds something or is over. Call it after `start`."""
        receiver = self._receiver
        if receiver is None:
            return
        if self._held_up and not receiver.over:
            receiver.read_again(self._loop.time())
            self._go_on()
        while not (receiver.held or receiver.over):
            await self._news.wait()

    def close(self) -> None:
        """End the exchange: keep the connection if its response has ended or ends soon, else close.

        The end is waited for only where the receiver had all that it wanted, for `DRAIN_S`.
        """
        receiver, self._receiver = self._receiver, None
        response = self.response
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lost or response is None:
            return
        if response.complete and response.reusable and not self._pending:
            self._free(response)
        elif (
            receiver is not None
            and receiver.complete
            and not (response.complete or response.ends_with_connection)
        ):
            self._inflater = self._steps = None
            rest = Rest(self._loop.time() + DRAIN_S, self.close)
            self._receiver = rest
            self._timer = DeadlineTimer(self._loop, self._tick)
            if not self._scheduled:
                self._go_on()
        else:
            self.abort()

    def abort(self) -> None:
        """Close the connection at once; an exchange that is under way breaks off."""
        self._drop()
        if not self._lost:
            self._transport.abort()
        if self._receiver is not None:
            self._receiver.break_off()
        self._news.wake()

    def _free(self, response: HttpResponse) -> None:
        self.used = True
        self._drop()
        if self._paused:
            self._resume()
        self._on_free(self, response)

    def _drop(self) -> None:
        """Let go of the response."""
        if self.response is not None:
            self.response.close()
        self.response = self._inflater = self._steps = None
        self._pending = b""

    # ------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        receiver, response, timer = self._receiver, self.response, self._timer
        # So it is with nearly every token.
        if self._flows and receiver and response and timer and len(data) <= TURN_BYTES:
            response.feed(data)
            if content := response.content:
                response.content = b""
                receiver.feed(content, self._loop.time())
            ended = receiver.over or response.complete or response.broken
            if ended or receiver.held or receiver.deadline < timer.at:
                self._settle(response, receiver)
            return
        self._pending = self._pending + data if self._pending else data
        if not self._scheduled:
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`."""
        self._lost = True
        self._reset = self._reset or exc is not None
        self._on_lost(self)
        if not self._scheduled:
            self._go_on()
        self._news.wake()

    # ------------------------------------------------------------------ the response

    def _go_on(self) -> None:
        """Work off what has come, for one turn, and see to the next one."""
        self._scheduled = self._held_up = self._flows = False
        response, receiver = self.response, self._receiver
        if response is None:
            if self._pending:  # it is the answer to no request
                self.abort()
            return
        if response.headed and (
            receiver is None or receiver.over or receiver.held > HELD_LIMIT
        ):
            # `start`, `close` or `more` goes on.
            self._held_up = True
            self._pause()
            return
        if self._steps is None:
            if data := self._pending:
                data, self._pending = data[:TURN_BYTES], data[TURN_BYTES:]
                response.feed(data)
            if receiver is not None and (content := response.content):
                response.content = b""
                if self._inflater is None:
                    receiver.feed(content, self._loop.time())
                else:
                    self._steps = self._inflater.feed(content)
        if self._steps is not None and receiver is not None:
            self._unpack(self._steps, receiver)
        self._settle(response, receiver)

    def _settle(self, response: HttpResponse, receiver: Receiver | None) -> None:
        """See to what follows what was fed: the next turn, the end, the waiter, the deadline."""
        self._flows = False
        if self._receiver is not receiver:  # it has closed this exchange
            return
        if response.broken:
            self._break()
        if self._pending or self._steps is not None:
            self._pause()
            self._scheduled = True
            self._loop.call_soon(self._go_on)
        elif response.complete:
            if receiver is not None:
                receiver.end()
        elif self._lost:
            self._end(response, receiver)
        elif self._paused:
            self._resume()
        if receiver is None:
            if response.headed:
                self._news.wake()
        elif receiver.over:
            self._news.wake()
        else:
            if receiver.held:
                self._news.wake()
            if self._timer is not None and receiver.deadline < self._timer.at:
                self._timer.set(receiver.deadline)
            self._flows = not (receiver.held or self._inflater or self._scheduled)

    def _unpack(self, steps: Iterator[bytes], receiver: Receiver) -> None:
        work, now = 0, self._loop.time()
        try:
            for piece in steps:
                if piece:
                    receiver.feed(piece, now)
                    if receiver.over:
                        break
                work += work_of(piece)
                if work >= TURN_BYTES:
                    return
        except BackendFailed as error:
            receiver.fail(without_tracebacks(error))
        self._steps = None

    def _break(self) -> None:
        self._pending = b""
        self._reset = True
        if not self._lost:
            self._lost = True
            self._transport.abort()

    def _end(self, response: HttpResponse, receiver: Receiver | None) -> None:
        """Tell the receiver that nothing more comes."""
        response.close()
        if receiver is None:
            return
        if response.ends_with_connection and not self._reset:
            receiver.end()
        else:
            receiver.break_off()

    # ------------------------------------------------------------------ reading and time

    def _pause(self) -> None:
        if not (self._paused or self._lost):
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        self._paused = False
        if not self._lost:
            self._transport.resume_reading()

    def _tick(self) -> None:
        receiver, timer = self._receiver, self._timer
        if receiver is None or timer is None or receiver.over:
            return
        now = self._loop.time()
        if self._held_up:  # the silence is not the server's
            receiver.read_again(now)
        if now >= receiver.deadline:
            receiver.look(now)
        if receiver.over:
            self._news.wake()
        else:
            timer.set(receiver.deadline)
