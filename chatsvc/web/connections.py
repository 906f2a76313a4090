"""The connections of `chatsvc serve`: limits that aiohttp's server does not have.

aiohttp limits each line of a request's head, but leaves its size and time to a proxy in front.
`GuardedConnection` is aiohttp's own protocol with these limits. It counts blocks as they come in.

Where the application is mounted in another one, that application's runner makes the connections,
and these limits are what its runner has.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from aiohttp import StreamReader, hdrs, web

from chatsvc.web import connection_limits as limits
from chatsvc.web.beyond import Beyond
from chatsvc.web.cuts import Cuts
from chatsvc.web.descriptors import DESCRIPTORS
from chatsvc.web.memory import MEMORY
from chatsvc.web.metrics import METRICS
from chatsvc.web.open_request import OpenRequest
from chatsvc.web.phases import Phase
from chatsvc.web.plain_answers import LARGE_HEAD, SLOW_HEAD, with_request_id
from chatsvc.web.proxies import PROXIES
from chatsvc.web.request_ids import X_REQUEST_ID, new_request_id, request_id
from chatsvc.web.security import SERVER
from chatsvc.web.use import USE

END_OF_HEAD = b"\r\n\r\n"


class Connections:
    """The factory of a server's connections, for `loop.create_server`.

    `server` is that of a runner that has been set up for `app`, which is a chatsvc application.
    `options` are more arguments of aiohttp's `RequestHandler`. `waiting` has the connections of
    the reserve that have not begun a request, the oldest first; factories of one process share it.
    """

    def __init__(
        self,
        server: web.Server,
        app: web.Application,
        *,
        waiting: dict[GuardedConnection, None] | None = None,
        **options: Any,
    ) -> None:
        self.server = server
        self.loop = asyncio.get_running_loop()
        self.descriptors = app[DESCRIPTORS]
        self.options = options
        self.waiting: dict[GuardedConnection, None] = {} if waiting is None else waiting
        self.beyond = Beyond(app[USE], app[PROXIES], app[METRICS])
        self.cuts = Cuts(app[METRICS].cut)
        app[MEMORY].connections.append(self._all)

    def __call__(self) -> GuardedConnection:
        """Return the protocol of a new connection."""
        return GuardedConnection(self)

    def _all(self) -> list[GuardedConnection]:
        return cast(list[GuardedConnection], self.server.connections)

    def make_room(self) -> bool:
        """Close the connection of the reserve that has waited longest; return whether there is one.

        Whoever asks for `/healthz` does so at once: clients that only connect don't keep it out.
        """
        oldest = next(iter(self.waiting), None)
        if oldest is None:
            return False
        del self.waiting[oldest]
        if oldest.transport is not None:
            oldest.transport.abort()
        return True


class GuardedConnection(web.RequestHandler):
    """A client's connection: aiohttp's protocol with limits of time and size for what comes in.

    The middleware calls `begin` when a request begins, and `charge` when it knows the sender;
    aiohttp calls `log_access` when its answer has been written. `in_reserve` is whether the
    connection has one of the last descriptors, `account` what it is counted for, or "", and
    `beyond` whether it is one more than that may have.
    """

    __slots__ = (
        "_arrived",
        "_body",
        "_connections",
        "_open",
        "_phase",
        "_seen",
        "_tail",
        "_timer",
        "account",
        "beyond",
        "in_reserve",
    )

    def __init__(self, connections: Connections) -> None:
        super().__init__(
            connections.server,
            loop=connections.loop,
            auto_decompress=False,
            keepalive_timeout=limits.IDLE_S,
            lingering_time=limits.DISCARD_S,
            **connections.options,
        )
        self.in_reserve = False
        self.account = ""
        self.beyond = False
        self._connections = connections
        self._phase = Phase.IDLE
        self._seen = 0  # bytes of the head, sent ahead, or thrown away: as the phase is
        self._tail = b""  # the last three bytes of a head that is not whole
        self._timer: asyncio.TimerHandle | None = None
        self._body: StreamReader | None = None
        self._arrived = 0  # bytes of the body's content, without what frames it
        self._open = OpenRequest(connections.loop, logs=self.access_logger is not None)

    @property
    def unfinished_bytes(self) -> int:
        """The bytes held of heads, and of what frames a body, that belong to nothing whole yet."""
        return 0 if self._phase in (Phase.DISCARD, Phase.REFUSED) else self._seen

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`. The last descriptors are kept free."""
        descriptors = self._connections.descriptors
        if descriptors.in_reserve(transport):
            self.in_reserve = True
            waiting = self._connections.waiting
            if descriptors.in_spare(transport) or len(waiting) >= descriptors.room:
                descriptors.refuse()
                if not self._connections.make_room():
                    self._phase = Phase.REFUSED
                    # uvloop's transports are no subclasses of asyncio's.
                    cast(asyncio.Transport, transport).abort()
                    return
            waiting[self] = None
            self._limit_time(limits.RESERVE_HEAD_S)
        super().connection_made(transport)
        if self._connections.beyond.enter(self, self.peername):
            self.beyond = True
            self._limit_time(limits.RESERVE_HEAD_S)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See `asyncio.BaseProtocol`."""
        self._phase = Phase.REFUSED
        self._body = None
        self._stop_timer()
        if self.in_reserve:
            self._connections.waiting.pop(self, None)
        self._connections.beyond.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`. aiohttp also calls it without data, to parse what it has."""
        if data:
            if self._phase is Phase.REQUEST:
                if self._body is not None and self._body.is_eof():
                    self._take_ahead(data)
            elif self._phase is not Phase.READ and not self._take(data):
                return
        super().data_received(data)
        if self._phase is Phase.REQUEST and self._body is not None:
            self._limit_framing(self._body, len(data))

    def begin(self, request: web.BaseRequest) -> None:
        """Take what is received from now on for the body of `request`, and for what follows it."""
        self._stop_timer()
        if self.in_reserve:
            self._connections.waiting.pop(self, None)
        if self.beyond:
            self._connections.beyond.begin(self)
        self._open.begin(request)
        self._phase, self._seen, self._tail = Phase.REQUEST, 0, b""
        # What follows a request that asks for an upgrade are frames. If it is refused, aiohttp
        # keeps no more than a buffer of them.
        upgrade = hdrs.UPGRADE in request.headers
        self._body = None if upgrade else request.content
        self._arrived = request.content.total_bytes

    def charge(self, account: str, most: int) -> None:
        """Count the connection for the sender of a request. See `Beyond.charge`."""
        # One that is lost meanwhile has been counted for the last time.
        if self.transport is not None and (self.beyond or account != self.account):
            self._connections.beyond.charge(self, account, most)

    def refuse_beyond(self) -> None:
        """Answer that the client has too many connections, before it has sent a request."""
        self._connections.beyond.begin(self)
        self._refuse(self._connections.beyond.answer(), "limit")

    def handle_error(
        self, request: web.BaseRequest, *args: Any, **options: Any
    ) -> web.StreamResponse:
        """See aiohttp's. The answer to what is not HTTP is made here, and by no middleware."""
        response = super().handle_error(request, *args, **options)
        response.headers[hdrs.SERVER] = SERVER
        response.headers[X_REQUEST_ID] = request_id(request)
        return response

    def log_access(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        time: float | None,
    ) -> None:
        """Log a request, whose answer is written; what is received from now on follows it.

        aiohttp calls it after each answer, also where no access log is kept.
        """
        super().log_access(request, response, time)
        self._open.end()
        if self._phase is Phase.REFUSED:
            return
        self._stop_timer()
        self._body = None
        if not request.content.is_eof():
            self._phase, self._seen, self._body = Phase.DISCARD, 0, request.content
        elif self._seen:  # A head is here in part, or a whole one begins at once.
            self._phase = Phase.HEAD
            self._limit_time(limits.HEAD_S)
        else:
            self._phase = Phase.IDLE

    def _take(self, data: bytes) -> bool:
        """Count bytes that come before a request or after one; return whether aiohttp gets them."""
        if self._phase is Phase.DISCARD and self._body is not None:
            if not self._body.is_eof():
                return self._discard(data)
            self._phase, self._body, self._seen = Phase.IDLE, None, 0
        if self._phase is Phase.REFUSED:
            return self._discard(data)
        if self._phase is Phase.IDLE:
            data = data.lstrip(b"\r\n")
            if not data:  # [RFC 9112, 2.2] Empty lines before a head.
                self._limit_time(limits.HEAD_S)
                return True
            self._phase, self._seen, self._tail = Phase.HEAD, 0, b""
        joined = self._tail + data
        end = joined.find(END_OF_HEAD)
        if end >= 0:
            self._seen += end + len(END_OF_HEAD) - len(self._tail)
        else:
            self._seen += len(data)
        if self._seen > limits.HEAD_BYTES:
            self._refuse(LARGE_HEAD, "large-head")
            return False
        if end >= 0:
            self._phase = Phase.READ
        else:
            self._tail = joined[-3:]
            self._limit_time(limits.HEAD_S)
        return True

    def _take_ahead(self, data: bytes) -> None:
        """Count bytes that follow a request which is being answered."""
        self._seen += len(data)
        self._tail = data[-3:]
        self._limit_flood()

    def _limit_framing(self, body: StreamReader, received: int) -> None:
        """Count bytes of a body that bring nothing of its content: its trailers, as a rule.

        aiohttp keeps the trailers of a body in chunks, each as long as a line may be, and gives
        them to nobody. A chunk's own head is short, so what comes between two pieces is, too.
        """
        if body.is_eof():
            return
        if body.total_bytes != self._arrived:
            self._arrived, self._seen = body.total_bytes, 0
        else:
            self._seen += received
            self._limit_flood()

    def _limit_flood(self) -> None:
        if self._seen > limits.AHEAD_BYTES and self.transport is not None:
            self._connections.cuts.note("flood", self._client())
            self.transport.abort()

    def _discard(self, data: bytes) -> bool:
        """Count bytes that are thrown away; return whether aiohttp gets them, to find their end."""
        self._seen += len(data)
        if self._seen <= limits.DISCARD_BYTES:
            return self._phase is Phase.DISCARD
        if self.transport is not None:
            self.transport.pause_reading()
        return False

    def _limit_time(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._connections.loop.call_later(seconds, self._be_late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _be_late(self) -> None:
        self._timer = None
        if self.beyond:
            self.refuse_beyond()
        else:
            self._refuse(SLOW_HEAD, "slow-head")

    def _refuse(self, answer: bytes, reason: str) -> None:
        """Answer a head that is not whole, and close the connection in `DISCARD_S`.

        Nothing stands before the answer that belongs to it: all requests before are answered.
        """
        transport, client = self.transport, self._client()
        self._phase, self._seen, self._tail = Phase.REFUSED, 0, b""
        self._stop_timer()
        self.close()  # aiohttp parses nothing any more, and waits for nothing
        if transport is None:
            return
        named = new_request_id()
        self._connections.cuts.note(reason, client, named)
        transport.write(with_request_id(answer, named))
        # What there is too much of is not held any longer than for the answer.
        wait = 0.0 if self.in_reserve or self.beyond else limits.DISCARD_S
        self._connections.loop.call_later(wait, transport.abort)

    def _client(self) -> object:
        name = self.peername
        return name[0] if isinstance(name, tuple) else name
