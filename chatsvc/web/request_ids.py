"""The id of a request, by which its line in the log is found again (PROTOCOL.md section 2).

It is what the client or a proxy calls the request, in `X-Request-Id`, or the id of the trace that it
belongs to, in `traceparent` (W3C Trace Context), or else a new one. Every answer has it in
`X-Request-Id`.
"""

from __future__ import annotations

import re
from random import getrandbits

from aiohttp import web
from multidict import istr

X_REQUEST_ID = istr("X-Request-Id")
"""The header with the id of a request, in the request and in its answer."""

TRACEPARENT = istr("traceparent")
"""The header that says which trace a request belongs to (W3C Trace Context, section 3.2)."""

LONGEST_ID = 128
"""The most characters that an id which a client sends may have."""

_GIVEN = re.compile(rf"[!-~]{{1,{LONGEST_ID}}}", re.ASCII).fullmatch

# [W3C Trace Context, 3.2.2] Version, trace id, parent id, flags; later versions may add more.
_TRACEPARENT = re.compile(
    "(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?"
).fullmatch

REQUEST_ID = web.RequestKey("request_id", str)
"""The key of a request's id."""


def new_request_id() -> str:
    """Return a new id: 16 hexadecimal digits. It is no secret, so it may be guessed."""
    return f"{getrandbits(64):016x}"


def trace_id(traceparent: str) -> str:
    """Return the trace id of a `traceparent`, or "" for one that is not valid."""
    found = _TRACEPARENT(traceparent)
    if found is None or (found[1] == "00" and found[3] is not None):
        return ""
    return found[2]


def request_id(request: web.BaseRequest) -> str:
    """Return the id of a request, which stays the same from the first call on.

    An id that is longer than `LONGEST_ID`, or has anything but visible ASCII characters, is not taken,
    nor are several.
    """
    try:
        return request[REQUEST_ID]
    except KeyError:
        return name_request(request)


def name_request(request: web.BaseRequest) -> str:
    """Return what `request_id` returns for a request that it was not called for."""
    found = request[REQUEST_ID] = _of_headers(request) or new_request_id()
    return found


def _of_headers(request: web.BaseRequest) -> str:
    headers = request.headers
    if X_REQUEST_ID in headers:
        given = headers.getall(X_REQUEST_ID)
        if len(given) == 1 and _GIVEN(given[0]):
            return given[0]
    if TRACEPARENT in headers:
        parents = headers.getall(TRACEPARENT)
        if len(parents) == 1:
            return trace_id(parents[0])
    return ""
