"""Who is given a stream."""

from __future__ import annotations

from aiohttp import web

from chatsvc.web.app_keys import service
from chatsvc.web.disconnects import CLIENTS
from chatsvc.web.metrics import METRICS


class Reader:
    """A client that is given a stream: counted by transport, and watched, for as long as the block lasts.

    `after` is the position that it starts behind (code points).
    """

    __slots__ = ("_clients", "_gauge", "_request")

    def __init__(self, request: web.Request, transport: str, after: int = 0) -> None:
        app = service(request)
        metrics = app[METRICS]
        self._request = request
        self._clients = app[CLIENTS]
        self._gauge = metrics.readers.labels(transport)
        if after:
            metrics.resumes.labels(transport).inc()

    def __enter__(self) -> None:
        self._gauge.inc()
        self._clients.enter(self._request)

    def __exit__(self, *_: object) -> None:
        self._gauge.dec()
        self._clients.leave()
