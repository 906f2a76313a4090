"""Access and event logs, as text or JSON.

They never hold a message's text, a query or an idempotency key.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from functools import lru_cache
from itertools import zip_longest
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http import HttpProcessingError
from aiohttp.log import server_logger

from chatsvc.replies import Reply
from chatsvc.transports.response import ReplyResponse
from chatsvc.web.app_keys import CLIENT, SERVICE
from chatsvc.web.problems import PROBLEM

SECRET_PARTS = ("{reply}", "{chat}", "{token}")
"""The parts of routes that stand for capabilities: to know one is the right to read what it names.
"""

API_PARTS = (
    "api",
    "chat",
    "question",
    "share",
    "shared",
    "stop",
    "stream",
    "ticket",
    "ui",
    "unshare",
)
"""The parts of the routes below `/api/` that are no capabilities."""

PATH_CHARACTERS = 200
"""The most characters of a path that are logged."""

events = logging.getLogger("chatsvc.events")
"""The logger of what happens to replies."""

access = logging.getLogger("chatsvc.access")
"""The logger of requests."""


# Each reply has two lines, which were a tenth of what a short reply costs: so the second of the time
# is formatted once, and a line without a traceback is joined here.


@lru_cache(maxsize=4)
def _local(second: int) -> str:
    """Return a time (Unix seconds) in this machine's time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


@lru_cache(maxsize=4)
def _utc(second: int) -> str:
    """Return a time (Unix seconds) in UTC, as ISO 8601 without its zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


_to_json = json.JSONEncoder(ensure_ascii=False, default=str).encode


class TextFormatter(logging.Formatter):
    """The formatter of lines for people: `time level name message key=value …`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the record's time in this machine's time zone, to the millisecond."""
        return f"{_local(int(record.created))},{int(record.msecs):03d}"

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and a traceback below it where there is one."""
        if record.exc_info or record.exc_text or record.stack_info:
            line = super().format(record)
        else:
            at, message = self.formatTime(record), record.getMessage()
            line = f"{at} {record.levelname} {record.name} {message}"
        data: dict[str, Any] = getattr(record, "data", {})
        pairs = "".join([f" {key}={value}" for key, value in data.items()])
        head, newline, rest = line.partition("\n")
        return f"{head}{pairs}{newline}{rest}"


class JsonFormatter(logging.Formatter):
    """The formatter of lines for machines: one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        data = {
            "time": f"{_utc(int(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "data", {}),
        }
        if record.exc_info:
            data["traceback"] = self.formatException(record.exc_info)
        return _to_json(data)


def _redact_unreadable_request(record: logging.LogRecord) -> bool:
    """Edit aiohttp's record of a request that it can't read, and return True to keep every record.

    aiohttp's own record shows the line in question, which may hold a message or a reply's id. The
    edited one names only the kind of mistake.
    """
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg = "a request that can't be read: %s"
        record.args = (type(error).__name__,)
        record.exc_info = None
    return True


def set_up_logs(log_format: str) -> None:
    """Send all logs to stderr, as `text` or `json`."""
    # No line shows them, and to find them out costs a tenth of a line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    server_logger.addFilter(_redact_unreadable_request)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)


def _log(logger: logging.Logger, message: str, data: dict[str, Any]) -> None:
    """Log a line of level INFO, as `logger.info` does, with this function as its caller.

    To look for the caller on the stack costs as much as to write the line.
    """
    if logger.isEnabledFor(logging.INFO):
        code, extra = _log.__code__, {"data": data}
        file, line, name = code.co_filename, code.co_firstlineno, code.co_name
        record = logger.makeRecord(
            logger.name, logging.INFO, file, line, message, (), None, name, extra
        )
        logger.handle(record)


class EventLog:
    """The log of what happens to replies, an `Observer`.

    `node` is the name of this node in its store. Ids are capabilities, so only their beginnings are
    logged.
    """

    def __init__(self, node: str = "") -> None:
        self._node = node

    def producing(self, count: int) -> None:
        """Do nothing: how many replies run is not logged."""

    def started(self, reply: Reply) -> None:
        """See `Observer`."""
        events.debug("reply started", extra={"data": {"reply": reply.id[:6]}})

    def first(self, reply: Reply) -> None:
        """Do nothing: the first character is not logged."""

    def handed_on(self, reply: Reply, successor: str) -> None:
        """See `Observer`."""
        data: dict[str, Any] = {"reply": reply.id[:6]}
        if successor:
            data["to"] = successor
        data["code_points"] = reply.log.position
        _log(events, "reply handed on", data)

    def taken_over(self, reply: Reply) -> None:
        """See `Observer`."""
        data = {
            "reply": reply.id[:6],
            "node": self._node,
            "code_points": reply.log.position,
        }
        _log(events, "reply taken over", data)

    def ended(self, reply: Reply) -> None:
        """See `Observer`."""
        end = reply.end
        assert end is not None
        data = {
            "reply": reply.id[:6],
            "state": end.state,
            "finish_reason": end.finish_reason,
            "code_points": reply.log.position,
        }
        _log(events, "reply ended", data)


class AccessLog(AbstractAccessLogger):
    """The log of requests: one line each, when it is over."""

    @property
    def enabled(self) -> bool:
        """Whether the logger takes records of this level; aiohttp asks before it measures times."""
        return self.logger.isEnabledFor(logging.INFO)

    def log(
        self, request: web.BaseRequest, response: web.StreamResponse, time: float
    ) -> None:
        """See `AbstractAccessLogger`."""
        data = {
            "method": request.method,
            "path": _without_capability(request),
            "status": response.status,
            "seconds": round(time, 3),
            "client": request.get(CLIENT, request.remote),
        }
        if isinstance(response, ReplyResponse) and response.broken:
            data["broken"] = True  # the stream did not come to its end
        if PROBLEM in request:
            data["problem"] = request[PROBLEM]
        _log(self.logger, "request", data)


def _without_capability(request: web.BaseRequest) -> str:
    """Return a request's path, with ids of replies and chats, and tokens, cut to their beginnings.

    The path stays percent-encoded, so that its parts correspond to those of the route, and it is
    one line. It has at most `PATH_CHARACTERS`.
    """
    template = ""
    if isinstance(request, web.Request) and SERVICE in request:
        resource = request.match_info.route.resource
        template = "" if resource is None else resource.canonical
    path = request.rel_url.raw_path
    if path == template and "{" not in path and len(path) <= PATH_CHARACTERS:
        return path  # a route without a parameter, as most requests have
    parts = path.split("/")
    if template:
        names = template.split("/")[: len(parts)]
        hidden = [name in SECRET_PARTS for _, name in zip_longest(parts, names)]
    else:
        hidden = _hidden_parts(parts)
    path = "/".join(
        # As long as a reply's id, wherever it stands.
        f"{part[: min(6, len(part) // 2)]}…" if hide or len(part) == 22 else part
        for part, hide in zip(parts, hidden, strict=True)
    )
    return path if len(path) <= PATH_CHARACTERS else f"{path[: PATH_CHARACTERS - 1]}…"


def _hidden_parts(parts: list[str]) -> list[bool]:
    """Return which parts of a path without a route may be ids, mistyped or at a mistyped address.

    They are those below `/api/`, also under a prefix, that are no part of a route's name.
    """
    words = [unquote(part).lower() for part in parts]
    begin = next((i for i, word in enumerate(words) if word.startswith("api")), None)
    return [
        begin is not None and index >= begin and word not in ("", *API_PARTS)
        for index, word in enumerate(words)
    ]
