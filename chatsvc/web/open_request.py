"""The request that a connection is answering, which has a line in the log however it ends."""

from __future__ import annotations

import asyncio

from aiohttp import web

from chatsvc.web.logs import log_request
from chatsvc.web.problems import BEGUN, CLIENT_GONE_STATUS


class OpenRequest:
    """The request that one connection is answering, if any, from `begin` to `end`.

    aiohttp logs only what comes to an end. It cancels the task of a connection when the client
    leaves, when the connection is cut because an API key was withdrawn, and when the service goes down:
    the request that is open then is logged when that task has ended. Its status is that of
    the answer that has begun, else `CLIENT_GONE_STATUS`.
    """

    __slots__ = ("_logs", "_loop", "_request", "_started")

    def __init__(self, loop: asyncio.AbstractEventLoop, *, logs: bool) -> None:
        self._loop = loop
        self._logs = logs
        self._request: web.BaseRequest | None = None
        self._started: float | None = None  # by the loop's clock

    def begin(self, request: web.BaseRequest) -> None:
        """Take a request that is answered from now on."""
        if not self._logs:
            return
        if self._started is None:  # all requests of a connection have the same task
            request.task.add_done_callback(self._task_done)
        self._request, self._started = request, self._loop.time()

    def end(self) -> None:
        """Let go of the request: it has been answered, and logged."""
        self._request = None

    def _task_done(self, task: asyncio.Task[None]) -> None:
        request, self._request = self._request, None
        if request is not None and self._started is not None:
            seconds = self._loop.time() - self._started
            status = request.get(BEGUN, CLIENT_GONE_STATUS)
            log_request(request, status, seconds, broken=True)
