"""Whatever goes wrong in a request becomes a problem (RFC 9457), or a page where a browser asked for one."""

from __future__ import annotations

from html import escape

import msgspec
from aiohttp import hdrs, web

from chatsvc.problems import (
    BadRequest,
    InternalError,
    MethodNotAllowed,
    NotFound,
    Problem,
    TooLarge,
)
from chatsvc.transports.openai import error_object
from chatsvc.web.app_keys import inner_path

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
"""Of every answer."""


def of_http_error(error: web.HTTPError) -> Problem:
    """aiohttp's own errors in our words."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return MethodNotAllowed(f"This address takes {allowed}.", allowed=allowed)
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return TooLarge("The body is over the limit.")
    if isinstance(error, web.HTTPNotFound):
        return NotFound("There is nothing at this address.")
    if error.status < 500:
        return BadRequest(f"{error.reason}.", status=error.status)
    return InternalError()


def problem_response(request: web.Request, problem: Problem) -> web.Response:
    """A problem as an answer: JSON, or HTML for a browser's page request."""
    headers = {**SECURITY_HEADERS, hdrs.CACHE_CONTROL: "no-store"}
    if problem.retry_after is not None:
        headers[hdrs.RETRY_AFTER] = str(problem.retry_after)
    if isinstance(problem, MethodNotAllowed):
        headers[hdrs.ALLOW] = problem.allowed
    if problem.status == 401:
        headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    if is_openai(request):
        return web.Response(
            body=msgspec.json.encode(error_object(problem.as_dict())),
            status=problem.status,
            content_type="application/json",
            headers=headers,
        )
    if wants_page(request):
        page = (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f"<title>{escape(problem.title)}</title>"
            f"<h1>{escape(problem.title)}</h1><p>{escape(problem.detail)}</p></html>"
        )
        return web.Response(
            text=page, status=problem.status, content_type="text/html", headers=headers
        )
    return web.Response(
        body=msgspec.json.encode(problem.as_dict()),
        status=problem.status,
        content_type="application/problem+json",
        headers=headers,
    )


def is_openai(request: web.Request) -> bool:
    """Whether the answer is read by a client of OpenAI's."""
    return inner_path(request).startswith("/v1/")


def wants_page(request: web.Request) -> bool:
    """Whether a browser asks for a page to show."""
    accept = request.headers.get(hdrs.ACCEPT, "")
    return request.method in ("GET", "HEAD") and accept.startswith("text/html")


PROBLEM = web.RequestKey("problem", str)
"""The key of a request that has the code of its problem, for metrics and logs."""

BEGUN = web.RequestKey("begun", bool)
"""The key of a request whose answer has begun."""
