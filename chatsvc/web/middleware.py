"""The middleware before every handler, and the headers of every answer.

The middleware checks a request's host, origin and user, watches for clients that leave, and turns
exceptions into problems.
"""

from __future__ import annotations

import logging

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11
from aiohttp.typedefs import Handler
from multidict import istr

from chatsvc.problem import Problem
from chatsvc.problems import BadRequest, InternalError, UnsupportedMediaType
from chatsvc.tracebacks import without_tracebacks
from chatsvc.web.app_keys import (
    PROBE_PATHS,
    REPLIES,
    SERVICE,
    identity_of,
    inner_path,
    service,
)
from chatsvc.web.connections import GuardedConnection
from chatsvc.web.descriptors import DESCRIPTORS
from chatsvc.web.disconnects import CLIENTS, is_gone
from chatsvc.web.hosts import HOSTS
from chatsvc.web.identification import (
    PUBLIC_PATHS,
    account_of_request,
    identify,
)
from chatsvc.web.metrics import METRICS
from chatsvc.web.origin import ORIGINS
from chatsvc.web.problems import (
    BEGUN,
    CLIENT_GONE_STATUS,
    PROBLEM,
    problem_of_http_error,
    problem_response,
)
from chatsvc.web.proxies import PROXIES
from chatsvc.web.request_ids import X_REQUEST_ID, name_request, request_id
from chatsvc.web.security import (
    CACHE_HEADERS,
    SECURITY_HEADERS,
    SERVER,
    VARY_ORIGIN,
)
from chatsvc.web.use import USE

# An `istr` costs half of what a `str` does, whose case has to be folded.
_COMMON_HEADERS = tuple(
    (istr(name), value)
    for name, value in (*SECURITY_HEADERS.items(), *CACHE_HEADERS.items())
)

logger = logging.getLogger("chatsvc.web")


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Pass an allowed request to its handler, and return exceptions as problems.

    No answer has a traceback or a path in it. Raises only an `HTTPException` that is no error, such
    as a redirect by `authorize`.
    """
    app = request[SERVICE] = service(request)
    clients = app[CLIENTS]
    task = clients.enter(request)
    name_request(request)
    # It stays with the request, also for the access log, whatever becomes of it.
    app[PROXIES].name_client(request)
    connection = request.protocol
    guarded = connection if isinstance(connection, GuardedConnection) else None
    if guarded is not None:
        guarded.begin(request)
    try:
        # The bodies of another version may end in ways that HTTP/1.1 does not know.
        if request.version > HttpVersion11:
            raise BadRequest("This service speaks HTTP/1.1.")
        if _is_encoded(request):
            raise UnsupportedMediaType(
                "The body must be sent as it is, without a Content-Encoding."
            )
        path = inner_path(request)
        is_spared = path in PROBE_PATHS  # also on a connection that is one too many
        if guarded is not None and guarded.in_reserve and not is_spared:
            raise app[DESCRIPTORS].overloaded()
        hosts = app[HOSTS]
        if hosts is not None:
            hosts.check(request)
        if path.startswith(("/api/", "/v1/", "/ws/")):
            app[ORIGINS].check(request)
            if request.method == hdrs.METH_OPTIONS and hdrs.ORIGIN in request.headers:
                return web.Response(status=204, headers=app[ORIGINS].preflight)
        await identify(request, app, path)
        if guarded is not None and not is_spared:
            _charge(guarded, request, app, path)
        response = await handler(request)
        if _is_one_too_many(guarded) or _is_leaving(app, response):
            response.force_close()
        return response
    except Problem as error:
        # The traceback would hold this frame, which holds the error: a cycle that would keep the
        # request and its body until the garbage collector comes by, which is seldom.
        problem = error.with_traceback(None)
    except web.HTTPError as error:
        problem = problem_of_http_error(error)
        # aiohttp keeps the error in its route, which its own frames hold.
        without_tracebacks(error)
    except web.HTTPException:  # a redirect is an answer
        raise
    except web.RequestPayloadError:
        problem = BadRequest("The body is not encoded as its headers say.")
    except Exception as error:
        if isinstance(error, ConnectionError) and is_gone(request):
            # Nothing can be sent. aiohttp finds that out by itself and logs nothing.
            return web.Response(status=CLIENT_GONE_STATUS)
        data = {"request_id": request_id(request)}
        logger.error("a request failed", exc_info=error, extra={"data": data})
        problem = InternalError()
    finally:
        clients.leave(task)
    request[PROBLEM] = problem.code
    app[METRICS].refusals.labels(problem.code).inc()
    app[METRICS].limit_reached(problem)
    if BEGUN in request:
        # The problem would stand inside the answer that has begun, so that is broken off.
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=CLIENT_GONE_STATUS)
    response = problem_response(request, problem)
    if (
        _is_one_too_many(guarded)
        or _is_leaving(app, response)
        or not request.content.is_eof()
    ):
        response.force_close()
    if _is_encoded(request):
        response.headers[hdrs.ACCEPT_ENCODING] = "identity"  # [RFC 9110, 12.5.3]
        response.force_close()
        # aiohttp passes over what is still to come. It would inflate that if the runner is another
        # application's, which may not have `auto_decompress=False`.
        connection.close()
    return response


def _charge(
    connection: GuardedConnection, request: web.Request, app: web.Application, path: str
) -> None:
    """Count a connection for whoever sends a request. Raises `TooManyRequests`.

    Of a request for a public path nobody knows the user, so the connection stays the last one's.
    """
    account = account_of_request(request, app)
    if path.startswith(PUBLIC_PATHS) and connection.account:
        account = connection.account
    if connection.beyond or account != connection.account:
        limits = app[USE].limits_of(identity_of(request).limits)
        connection.charge(account, limits.connections or 0)


def _is_one_too_many(connection: GuardedConnection | None) -> bool:
    """Return whether a connection is to close after its answer, for there are too many."""
    return connection is not None and (connection.in_reserve or connection.beyond)


def _is_leaving(app: web.Application, response: web.StreamResponse) -> bool:
    """Return whether the node drains, and an answer can still say that the connection closes.

    A proxy would otherwise keep the connection for its next request, which it can't repeat if that
    is a POST, and send it as the node ends.
    """
    return app[REPLIES].admission.draining and not response.prepared


def _is_encoded(request: web.Request) -> bool:
    """Return whether a body is compressed, by its headers."""
    if hdrs.CONTENT_ENCODING not in request.headers:
        return False
    encodings = ",".join(request.headers.getall(hdrs.CONTENT_ENCODING))
    return any(
        each.strip().lower() not in ("", "identity") for each in encodings.split(",")
    )


async def complete_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers that every answer has, just before they go out.

    It is a handler of aiohttp's signal `on_response_prepare`.
    """
    if isinstance(response, web.Response):  # it is written whole; streams are not
        service(request)[CLIENTS].watch_sending(request)
    headers = response.headers
    headers[hdrs.SERVER] = SERVER
    headers[X_REQUEST_ID] = request_id(request)
    for name, value in _COMMON_HEADERS:
        headers.setdefault(name, value)
    headers[hdrs.VARY] = f"{', '.join(headers.getall(hdrs.VARY))}, {VARY_ORIGIN}"
    if hdrs.ORIGIN in request.headers:
        headers.update(service(request)[ORIGINS].cors_headers(request))
    request[BEGUN] = response.status
