"""The checks of where a browser's request comes from (PROTOCOL.md section 2).

A client that is no browser sends no `Origin` and is allowed. A browser always sends one with a
POST, a WebSocket and a script's request to a foreign host (RFC 6454, WHATWG Fetch). For an image or
a link it sends none, but says by `Sec-Fetch-Site` whether the page with that image or link is of
another site. The headers that allow a page to read answers (CORS) are made here, too.
"""

from __future__ import annotations

from aiohttp import hdrs, web

from chatsvc.problems import ForbiddenOrigin

ALLOWED_HEADERS = (
    "Content-Type, Idempotency-Key, Last-Event-ID, Authorization, "
    # OpenAI's client in a browser, and the AI SDK's provider, send these.
    "User-Agent, OpenAI-Organization, OpenAI-Project, X-Stainless-Arch, "
    "X-Stainless-Helper-Method, X-Stainless-Lang, X-Stainless-OS, "
    "X-Stainless-Package-Version, X-Stainless-Retry-Count, X-Stainless-Runtime, "
    "X-Stainless-Runtime-Version, X-Stainless-Timeout"
)
"""The headers that the page of an allowed origin may send."""

EXPOSED_HEADERS = "X-Reply-Id, Retry-After"
"""The headers of an answer that the page of an allowed origin may read."""

PREFLIGHT = {
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST",
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ALLOWED_HEADERS,
    hdrs.ACCESS_CONTROL_MAX_AGE: "7200",
}
"""The headers of the answer to a preflight request of a browser's (WHATWG Fetch)."""


def is_same_origin(request: web.Request, origin: str) -> bool:
    """Return whether an origin is the one that a request was sent to.

    The scheme may differ, as it does behind a TLS proxy. A proxy that puts its own name into `Host`
    passes on the browser's `Sec-Fetch-Site`, or the host in `X-Forwarded-Host`. A foreign page can
    forge neither: a script can't set the first, and the second is not among `ALLOWED_HEADERS`.
    """
    if request.headers.get("Sec-Fetch-Site") == "same-origin":
        return True
    # Each proxy on the way has added its own.
    forwarded = request.headers.get("X-Forwarded-Host", "").split(",")
    hosts = {host.strip().lower() for host in (request.host, *forwarded)}
    return origin.partition("://")[2].lower() in hosts - {""}


def is_allowed(origin: str, allowed: tuple[str, ...]) -> bool:
    """Return whether a foreign origin is among the allowed ones, of which `*` is all."""
    return origin.lower() in allowed or "*" in allowed


def check_origin(request: web.Request, allowed: tuple[str, ...]) -> None:
    """Raise `ForbiddenOrigin` for a request whose origin is neither the service's nor allowed."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None or is_same_origin(request, origin) or is_allowed(origin, allowed):
        return
    raise ForbiddenOrigin(
        f"The origin {origin} may not use this service; --allow-origin would let it."
    )


def check_site(request: web.Request, allowed: tuple[str, ...]) -> None:
    """Raise `ForbiddenOrigin` for a GET by which a foreign page would start a reply.

    Images and links make such a request, which has no `Origin`. `Sec-Fetch-Site` then says that
    another site made it.
    """
    site = request.headers.get("Sec-Fetch-Site", "none")
    if (
        hdrs.ORIGIN not in request.headers
        and site not in ("none", "same-origin")
        and "*" not in allowed
    ):
        raise ForbiddenOrigin("A page of another origin may not begin a reply.")


def cors_headers(request: web.Request, allowed: tuple[str, ...]) -> dict[str, str]:
    """Return the headers that let the page of an allowed origin read the answer (WHATWG Fetch)."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None or not is_allowed(origin, allowed):
        return {}
    return {
        hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin,
        hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: EXPOSED_HEADERS,
    }
