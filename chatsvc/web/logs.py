"""Access and event logs: which lines there are. `chatsvc.web.log_lines` says how they are written.

They never hold a message's text, a query or an idempotency key.
"""

from __future__ import annotations

import logging
from itertools import zip_longest
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from chatsvc.replies import Reply
from chatsvc.transports.response import ReplyResponse
from chatsvc.web.app_keys import CLIENT, PROBE_PATHS, REPLY, SERVICE, identity_of
from chatsvc.web.log_lines import ACCESS, log_often
from chatsvc.web.problems import PROBLEM
from chatsvc.web.request_ids import request_id

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

access = logging.getLogger(ACCESS)
"""The logger of requests."""


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
        log_often(events, "reply handed on", data)

    def taken_over(self, reply: Reply) -> None:
        """See `Observer`."""
        data = {
            "reply": reply.id[:6],
            "node": self._node,
            "code_points": reply.log.position,
        }
        log_often(events, "reply taken over", data)

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
        log_often(events, "reply ended", data)


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
        broken = isinstance(response, ReplyResponse) and response.broken
        log_request(request, response.status, time, broken=broken)


def log_request(
    request: web.BaseRequest, status: int, seconds: float, *, broken: bool = False
) -> None:
    """Log that a request is over, unless it is a probe or a scrape that was not refused.

    `seconds` is how long it took; `broken` whether its answer did not come to its end.
    """
    path = _without_capability(request)
    if path in PROBE_PATHS and not 400 <= status < 500:
        return
    data: dict[str, Any] = {
        "method": request.method,
        "path": path,
        "status": status,
        "seconds": round(seconds, 3),
        "client": _kept(request, CLIENT) or request.remote,
        "request_id": request_id(request),
    }
    if user := identity_of(request).user:
        data["user"] = user
    if reply := _kept(request, REPLY):
        data["reply"] = reply
    if broken:
        data["broken"] = True
    if problem := _kept(request, PROBLEM):
        data["problem"] = problem
    log_often(access, "request", data)


def _kept(request: web.BaseRequest, key: web.RequestKey[str]) -> str:
    """Return what a request keeps under a key, or ""; its own `get` costs three times as much."""
    try:
        return request[key]
    except KeyError:
        return ""


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
