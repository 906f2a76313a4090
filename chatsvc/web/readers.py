"""The streams that clients read over HTTP: the response, and the scope in which it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from chatsvc.replies import Reply
from chatsvc.transports.block_stream import Rendering
from chatsvc.transports.codec import StreamCodec
from chatsvc.transports.response import ReplyResponse
from chatsvc.web.app_keys import REPLY, service
from chatsvc.web.disconnects import CLIENTS
from chatsvc.web.metrics import METRICS
from chatsvc.web.use import Place


class ReaderScope:
    """A context manager for the time in which a client reads a stream over HTTP.

    It counts the client in the metrics, and watches its connection as the middleware does for other
    requests: a stream runs on after the middleware has returned. `transport` is the stream's name
    in the metrics; `after` is the position (code points), or the offset, that the stream begins
    behind. `place` is left at the end.
    """

    __slots__ = ("_clients", "_gauge", "_place", "_request", "_task")

    def __init__(
        self, request: web.Request, transport: str, place: Place, after: int = 0
    ) -> None:
        app = service(request)
        metrics = app[METRICS]
        self._request = request
        self._place = place
        self._clients = app[CLIENTS]
        self._gauge = metrics.readers.labels(transport)
        if after:
            metrics.resumes.labels(transport).inc()

    def __enter__(self) -> None:
        self._gauge.inc()
        self._task = self._clients.enter(self._request)

    def __exit__(self, *_: object) -> None:
        self._gauge.dec()
        self._place.leave()
        self._clients.leave(self._task)
        self._clients.watch_sending(self._request)


def stream_response(
    request: web.Request,
    reply: Reply,
    codec: StreamCodec,
    place: Place,
    after: int = 0,
    delivered: Callable[[], Awaitable[None]] | None = None,
    *,
    shown_id: str = "",
    rendering: Rendering | None = None,
) -> ReplyResponse:
    """Return the response that streams a reply from behind `after`.

    That is a position (code points), or an offset if `codec` is one of parts. `place` is left when
    the stream is over. `delivered`, `shown_id` and `rendering` are those of `ReplyResponse`; an empty `shown_id`
    stands for the reply's id.
    """
    request[REPLY] = reply.id[:6]
    scope = ReaderScope(request, codec.transport, place, after)
    return ReplyResponse(
        request, reply, shown_id or reply.id, after, scope, codec, delivered, rendering
    )
