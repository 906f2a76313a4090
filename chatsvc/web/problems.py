"""Problems as responses.

A problem is JSON (RFC 9457), or an error object to OpenAI's clients, or a page where a browser asks
for one.
"""

from __future__ import annotations

from html import escape

import msgspec
from aiohttp import hdrs, web
from markupsafe import Markup

from chatsvc.problem import Problem
from chatsvc.problems import (
    BadRequest,
    Forbidden,
    InternalError,
    MethodNotAllowed,
    NotFound,
    TooLarge,
    TooManyRequests,
    Unauthorized,
)
from chatsvc.transports.openai import error_object
from chatsvc.transports.templates import TEMPLATES
from chatsvc.web.app_keys import inner_path
from chatsvc.web.security import SECURITY_HEADERS
from chatsvc.web.use import rate_limit_headers

PROBLEM = web.RequestKey("problem", str)
"""The key of the code of a request's problem, for metrics and logs."""

CLIENT_GONE_STATUS = 499
"""The status that access logs show where no answer, or no whole one, could be sent to the client.
"""

BEGUN = web.RequestKey("begun", int)
"""The key of the status of a request's answer, once the head of that is on its way."""


def problem_of_http_error(error: web.HTTPError) -> Problem:
    """Return the problem that stands for an error of aiohttp's own."""
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
    """Return a problem in the shape that the client reads.

    It is OpenAI's error object under `/v1/`, a page for a browser that asks for one, else JSON.
    """
    headers = {**SECURITY_HEADERS}
    if problem.retry_after is not None:
        headers[hdrs.RETRY_AFTER] = str(problem.retry_after)
    if isinstance(problem, TooManyRequests):
        headers |= rate_limit_headers(problem)
    if isinstance(problem, MethodNotAllowed):
        headers[hdrs.ALLOW] = problem.allowed
    # [RFC 6750, 3] A request without a token gets no error code.
    if isinstance(problem, Forbidden):
        challenge = f'Bearer error="insufficient_scope", scope="{problem.scope}"'
        headers[hdrs.WWW_AUTHENTICATE] = challenge
    elif problem.status == 401:
        refused = isinstance(problem, Unauthorized) and problem.refused
        challenge = 'Bearer error="invalid_token"' if refused else "Bearer"
        headers[hdrs.WWW_AUTHENTICATE] = challenge
    if inner_path(request).startswith("/v1/"):  # where OpenAI's clients ask
        return web.Response(
            body=msgspec.json.encode(error_object(problem.as_dict())),
            status=problem.status,
            content_type="application/json",
            headers=headers,
        )
    if wants_page(request):
        page = TEMPLATES.get_template("problem.html").render(
            title=Markup(escape(problem.title)), detail=Markup(escape(problem.detail))
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


def wants_page(request: web.Request) -> bool:
    """Return whether `Accept` begins with HTML, as a browser's does when it loads a page."""
    accept = request.headers.get(hdrs.ACCEPT, "")
    return request.method in ("GET", "HEAD") and accept.startswith("text/html")
