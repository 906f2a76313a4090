"""What stands before every handler: who asks, and from where; that they are still there; and what becomes of errors."""

from __future__ import annotations

import logging

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11
from aiohttp.typedefs import Handler

from chatsvc.problems import (
    BadRequest,
    InternalError,
    Problem,
    Unauthorized,
    drop_tracebacks,
)
from chatsvc.web import origin
from chatsvc.web.app_keys import AUTHORIZE, SERVICE, SETTINGS, USER, inner_path, service
from chatsvc.web.disconnects import CLIENTS, is_gone
from chatsvc.web.metrics import METRICS
from chatsvc.web.problems import (
    BEGUN,
    PROBLEM,
    SECURITY_HEADERS,
    of_http_error,
    problem_response,
)

CLIENT_GONE = 499
"""The status that logs show for a client that left before its answer began; nothing is sent."""

OPEN_TO_ALL = ("/healthz", "/readyz", "/metrics", "/static/")
"""Where nobody is asked who they are."""

logger = logging.getLogger("chatsvc.web")


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request through to its handler. Nothing leaves the service but answers: no traceback, no path."""
    app = request[SERVICE] = service(request)
    app[CLIENTS].enter(request)
    try:
        if request.version > HttpVersion11:  # nobody would know where a body ends
            raise BadRequest("This service speaks HTTP/1.1.")
        path = inner_path(request)
        if path.startswith(("/api/", "/v1/", "/ws/")):
            origin.check_origin(request, app[SETTINGS].allow_origin)
            if request.method == hdrs.METH_OPTIONS and hdrs.ORIGIN in request.headers:
                return web.Response(status=204, headers=origin.PREFLIGHT)
        if app[AUTHORIZE] is not None and not path.startswith(OPEN_TO_ALL):
            await _identify(request, app)
        return await handler(request)
    except Problem as error:
        # Its traceback would hold this frame, which holds it, and the request with its body.
        problem = error.with_traceback(None)
    except web.HTTPError as error:
        problem = of_http_error(error)
        # aiohttp keeps it in its route, which its own frames hold.
        drop_tracebacks(error)
    except web.HTTPException:  # a redirect: the answer of whoever raised it
        raise
    except web.RequestPayloadError:
        problem = BadRequest("The body is not encoded as its headers say.")
    except Exception as error:
        if isinstance(error, ConnectionError) and is_gone(request):
            # Nobody is there to be told. aiohttp finds that out by itself and keeps quiet.
            return web.Response(status=CLIENT_GONE)
        logger.error("a request failed", exc_info=error)
        problem = InternalError()
    finally:
        app[CLIENTS].leave()
    request[PROBLEM] = problem.code
    app[METRICS].refusals.labels(problem.code).inc()
    if BEGUN in request:  # the answer would stand inside the stream: break that off
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=CLIENT_GONE)
    return problem_response(request, problem)


async def _identify(request: web.Request, app: web.Application) -> None:
    authorize = app[AUTHORIZE]
    name = None if authorize is None else await authorize(request)
    if name is None:
        raise Unauthorized("This service wants to know who asks.")
    request[USER] = name


async def finish_head(request: web.Request, response: web.StreamResponse) -> None:
    """What the head of every answer has, just before it goes out."""
    headers = response.headers
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    if hdrs.ORIGIN in request.headers:
        varies = headers.get(hdrs.VARY)
        headers.update(
            origin.cors_headers(request, service(request)[SETTINGS].allow_origin)
        )
        if varies is not None and headers[hdrs.VARY] != varies:
            headers[hdrs.VARY] += f", {varies}"
    request[BEGUN] = True
