"""The scope of a client that is given a stream."""

from __future__ import annotations

from aiohttp import web

from chatsvc.web.app_keys import service
from chatsvc.web.disconnects import CLIENTS
from chatsvc.web.metrics import METRICS


class ReaderScope:
    """A context manager that counts a client that is given a stream, and watches its connection.

    `transport` is the stream's name in the metrics; `after` is the position (code points) that the
    stream begins behind.
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
        self._clients.watch_sending(self._request)
