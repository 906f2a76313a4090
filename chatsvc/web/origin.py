"""Who may use the service from a browser (PROTOCOL.md section 2): its own origin, and those that were allowed.

What is no browser sends no `Origin` and is let through; a browser always sends one with a POST, a WebSocket and a script's
request to a foreign host (RFC 6454, WHATWG Fetch). For an image or a link it sends none, but says where that is from.
"""

from __future__ import annotations

from aiohttp import hdrs, web

from chatsvc.problems import ForbiddenOrigin

ALLOWED_HEADERS = (
    "Content-Type, Idempotency-Key, Last-Event-ID, Authorization, "
    # OpenAI's client in a browser, and the AI SDK's provider, tell of themselves.
    "User-Agent, OpenAI-Organization, OpenAI-Project, X-Stainless-Arch, X-Stainless-Helper-Method, X-Stainless-Lang, "
    "X-Stainless-OS, X-Stainless-Package-Version, X-Stainless-Retry-Count, X-Stainless-Runtime, "
    "X-Stainless-Runtime-Version, X-Stainless-Timeout"
)
EXPOSED_HEADERS = "X-Reply-Id, Retry-After"

PREFLIGHT = {
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST",
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ALLOWED_HEADERS,
    hdrs.ACCESS_CONTROL_MAX_AGE: "7200",
}
"""The answer to a browser that asks whether it may ask."""


def is_own(request: web.Request, origin: str) -> bool:
    """Whether an origin is the one that the request was sent to; the scheme may differ behind a TLS proxy.

    A proxy that puts its own name into `Host` passes on what the browser says of the request, or the host in
    `X-Forwarded-Host`. A foreign page can forge neither: the one is a forbidden header name, the other would need our
    leave in a preflight.
    """
    if request.headers.get("Sec-Fetch-Site") == "same-origin":
        return True
    forwarded = request.headers.get("X-Forwarded-Host", "").split(",")  # one a proxy
    hosts = {host.strip().lower() for host in (request.host, *forwarded)}
    return origin.partition("://")[2].lower() in hosts - {""}


def is_allowed(origin: str, allowed: tuple[str, ...]) -> bool:
    """Whether a foreign origin was allowed."""
    return origin.lower() in allowed or "*" in allowed


def check_origin(request: web.Request, allowed: tuple[str, ...]) -> None:
    """Raise `ForbiddenOrigin` for a request that a foreign page makes."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None or is_own(request, origin) or is_allowed(origin, allowed):
        return
    raise ForbiddenOrigin(
        f"The origin {origin} may not use this service; --allow-origin would let it."
    )


def check_site(request: web.Request, allowed: tuple[str, ...]) -> None:
    """Raise `ForbiddenOrigin` for a GET without an origin that a foreign page makes: an image, a script, a link."""
    site = request.headers.get("Sec-Fetch-Site", "none")
    if (
        hdrs.ORIGIN not in request.headers
        and site not in ("none", "same-origin")
        and "*" not in allowed
    ):
        raise ForbiddenOrigin("A page of another origin may not begin a reply.")


def cors_headers(request: web.Request, allowed: tuple[str, ...]) -> dict[str, str]:
    """What lets the page of an allowed origin read the answer (WHATWG Fetch, CORS protocol)."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None or not is_allowed(origin, allowed):
        return {}
    return {
        hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin,
        hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: EXPOSED_HEADERS,
        hdrs.VARY: "Origin",
    }
