"""The parts that the HTTP transports share: the question, its URLs, refusals, broken connections.

The *question* is the request that starts the reply.
"""

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
from aiohttp.client_exceptions import UnixClientConnectorError
from yarl import URL

from chatsvc.client.events import parse_problem
from chatsvc.client.reading import Step
from chatsvc.client.retryable import RETRIED_STATUSES
from chatsvc.client.signals import (
    Broken,
    Ended,
    EndUnknown,
    Problem,
    Refused,
    Signal,
    TextReceived,
)
from chatsvc.proxies import is_loopback, netrc_authorization
from chatsvc.retry_after import retry_after
from chatsvc.setting_formats import ValueFormat
from chatsvc.settings import BadSetting, variable

# A whole JSON reply that failed has its partial text in the problem: up to `--max-reply`.
_PROBLEM_LIMIT_BYTES = 1 << 20

EVENT_LIMIT_BYTES = 1 << 20
"""The bytes that an event or a line of text may have, so that no server fills the client's memory."""

PART_LIMIT_BYTES = 64 << 20
"""The bytes that one of the parts view may have: a file, for example, is in a single event."""


def service_url(text: str) -> URL:
    """Return the service's root, with a slash at its end, from the URL of its page.

    Query and fragment are dropped. Raises `ValueError` when `text` is no HTTP URL.
    """
    url = URL(text)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{text!r} is no URL of a service")
    return url.with_path(url.raw_path.rstrip("/") + "/", encoded=True)


SERVICE_URL = ValueFormat("URL", "a URL, as http://127.0.0.1:3000", service_url)
"""The format of a service's root."""


def check_api_key(base: URL, api_key: str) -> None:
    """Raise `BadSetting` for a key and a URL that has a user: one header would hold both."""
    if api_key and base.user is not None:
        raise BadSetting(
            f"{variable('api_key')} goes where the URL's user and password go: give one of them"
        )


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The seconds that a transport waits."""

    headers: float = 4.0
    """For the head of a response, or a WebSocket's handshake."""
    first_byte: float = 1.0
    """For the first byte of an event stream, when there are other transports."""
    silence: float = 37.5
    """For any byte: two and a half heartbeats (PROTOCOL.md section 3)."""
    poll: float = 25.0
    """For text, as a long poll asks the server to wait."""


@dataclass(frozen=True, slots=True)
class Question:
    """The request that starts a reply, and the limits of its attempts; the same for all of them."""

    base: URL
    """The service's root, with a slash at its end."""
    body: Mapping[str, Any]
    """The request body (PROTOCOL.md section 2)."""
    key: str
    """The idempotency key."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    has_alternatives: bool = False
    """Whether there are other transports: one that a proxy spoils then reports `Broken.switch`."""
    parts: bool = False
    """Whether all parts of the reply are asked for, or the answer's text alone.

    A server of an older version gives the text in either case.
    """
    api_key: str = field(default="", repr=False)
    """The key of a user of the service, or "" for none."""
    uds: str = ""
    """The path of the Unix socket by which the service is reached, or "" for the URL's host."""

    @property
    def limit(self) -> int:
        """The bytes that an event or a line of the answer may have."""
        return PART_LIMIT_BYTES if self.parts else EVENT_LIMIT_BYTES

    def url(self, step: Step, **query: str | float) -> URL:
        """Return the URL of a step's request, with `query` added to its parameters."""
        path = "api/chat" if step.reply is None else f"api/chat/{step.reply}"
        if step.reply is not None:
            query["after"] = step.after if step.offset is None else f"@{step.offset}"
        if self.parts:
            query["view"] = "parts"
        return self.base.joinpath(path).with_query(query)


def new_session(
    base: URL, api_key: str = "", uds: str = "", **options: Any
) -> aiohttp.ClientSession:
    """Return a session for the service at `base`, to be closed by the caller.

    With `uds` all of it goes by that Unix socket. In that case `base` says only what is asked.

    It goes through the proxy that the environment has for the service, and sends the password that
    the netrc file has; or, in its place, `api_key` as a Bearer token (RFC 6750), unless that is
    empty. `options` are those of `aiohttp.ClientSession`.
    """
    if api_key:
        options["middlewares"] = (_key_sender(base, api_key),)
    if uds:
        connector = aiohttp.UnixConnector(path=uds)
        return aiohttp.ClientSession(connector=connector, **options)
    if not is_loopback(base):
        return aiohttp.ClientSession(trust_env=True, **options)
    # aiohttp would ask the proxy for its own loopback interface.
    known = netrc_authorization(base)
    headers = {"Authorization": known} if known else None
    return aiohttp.ClientSession(trust_env=False, headers=headers, **options)


def _key_sender(base: URL, api_key: str) -> aiohttp.ClientMiddlewareType:
    """Return a middleware that sends a key to the origin of `base`, and to no other by a redirect.

    A header of the session could do that too, but aiohttp refuses it together with netrc.
    """
    origin = base.origin()

    async def send_key(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if request.url.origin() == origin:
            request.headers["Authorization"] = f"Bearer {api_key}"
        return await handler(request)

    return send_key


def key_refusal(sent: Mapping[str, str]) -> str:
    """Return what is said when the service names no user for a request of the headers `sent`."""
    if sent.get("Authorization", "").startswith("Bearer "):
        return f"the service does not know the key of {variable('api_key')}"
    return f"the service wants a key, which {variable('api_key')} may hold"


@asynccontextmanager
async def send_step(
    session: aiohttp.ClientSession,
    question: Question,
    step: Step,
    accept: str,
    **query: str | float,
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send a step's request and provide the response, whatever its status.

    `accept` is the media type wanted; `query` is added to the URL's parameters. Raises
    `aiohttp.ClientError` or `OSError` when there is no response.
    """
    headers = {"Accept": accept}
    url = question.url(step, **query)
    if step.reply is None:
        headers["Idempotency-Key"] = question.key
        # Escaped to ASCII: a lone surrogate from the command line reaches the server, which
        # refuses it with 400, where encoding it here would raise.
        data = json.dumps(question.body).encode()
        headers["Content-Type"] = "application/json"
        request = session.post(url, data=data, headers=headers)
    else:
        request = session.get(url, headers=headers)
    async with request as response:
        yield response


async def refusal_signals(
    response: aiohttp.ClientResponse,
) -> AsyncGenerator[Signal, None]:
    """Yield the signals of a response whose status is not 200 (PROTOCOL.md section 6).

    Raises `aiohttp.ClientError` or `OSError` when its body can't be read.
    """
    if response.status == 204:
        yield EndUnknown()
        return
    if response.history and response.history[0].method != response.method:
        # A redirect turned the POST into a GET: the response is not about the question.
        root = str(response.url.with_query(None)).removesuffix("api/chat")
        title = f"the server redirects the question, which gets lost; ask {root}"
        yield Refused(Problem(response.history[0].status, title))
        return
    raw = await response.content.read(_PROBLEM_LIMIT_BYTES)
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    problem = parse_problem(body, response.status, response.reason or "")
    if isinstance(body, dict) and isinstance(body.get("text"), str):
        # A whole JSON reply that failed: its partial text comes with its problem.
        after = body.get("after")
        start = after if isinstance(after, int) else 0
        yield TextReceived(start + len(body["text"]), body["text"])
        yield Ended("failed", problem)
    elif response.status in RETRIED_STATUSES:
        yield Refused(problem, retry_after(response.headers.get("Retry-After")) or 0.0)
    elif response.status >= 500 and not problem.code:
        # A proxy's error: the service itself names a code.
        yield Broken(f"the server answered {response.status} {response.reason}")
    elif problem.code == "unauthorized":
        words = key_refusal(response.request_info.headers)
        yield Refused(replace(problem, detail=words))
    else:
        yield Refused(problem)


def broken_signal(error: Exception) -> Broken:
    """Return the signal for `error`, an `aiohttp.ClientError` or `OSError` of a connection."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        words = getattr(error.certificate_error, "verify_message", "")
        return Broken(
            f"the certificate of {error.host}:{error.port} is not trusted: "
            f"{words or error.certificate_error} (SSL_CERT_FILE names a file of others that are)",
            unreachable=True,
        )
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        reason = getattr(error.os_error, "reason", None) or str(error.os_error)
        return Broken(
            f"no TLS with {error.host}:{error.port}: {reason.replace('_', ' ').lower()}",
            unreachable=True,
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        place = f"{error.host}:{error.port}"
        if isinstance(error, UnixClientConnectorError):
            place = f"unix:{error.path}"
        number = error.os_error.errno
        reason = os.strerror(number) if number else str(error.os_error)
        return Broken(f"can't reach {place}: {reason}", unreachable=True)
    if isinstance(error, TimeoutError):
        return Broken("the connection fell silent")
    return Broken("the connection broke")
