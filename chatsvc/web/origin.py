"""The checks of where a browser's request comes from (PROTOCOL.md section 2).

A client that is no browser sends no `Origin` and is allowed. A browser always sends one with a
POST, a WebSocket and a script's request to a foreign host (RFC 6454, WHATWG Fetch). For an image or
a link it sends none. Then `Sec-Fetch-Site` says whether the page with that image or link is of
another site; browsers send that header over TLS and to the loopback (W3C Fetch Metadata). Over
plain http, `Accept` is what tells an image or a link from a script. The headers that allow a page
to read answers (CORS) are made here, too.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import hdrs, web

from chatsvc.problems import ForbiddenOrigin
from chatsvc.requests.values import EVENT_STREAM
from chatsvc.settings import BadSetting, Settings, flag
from chatsvc.web.app_keys import service
from chatsvc.web.hosts import HOSTS
from chatsvc.web.negotiation import covers, parse_weights
from chatsvc.web.proxies import TrustedProxies

ALLOWED_HEADERS = (
    "Content-Type, Idempotency-Key, Last-Event-ID, Authorization, "
    "X-Request-Id, traceparent, tracestate, "
    # OpenAI's client in a browser, and the AI SDK's provider, send these.
    "User-Agent, OpenAI-Organization, OpenAI-Project, X-Stainless-Arch, "
    "X-Stainless-Helper-Method, X-Stainless-Lang, X-Stainless-OS, "
    "X-Stainless-Package-Version, X-Stainless-Retry-Count, X-Stainless-Runtime, "
    "X-Stainless-Runtime-Version, X-Stainless-Timeout"
)
"""The headers that the page of an allowed origin may send without `--allow-header`."""

EXPOSED_HEADERS = "X-Reply-Id, X-Request-Id, Retry-After, RateLimit, RateLimit-Policy"
"""The headers of an answer that the page of an allowed origin may read."""

ANY_ORIGIN = "*"
"""The setting that stands for every origin."""

BROWSER = "Mozilla/"
"""How the `User-Agent` of every browser begins."""


class Origins:
    """The origins whose pages may use the service: its own, and those of its settings.

    `proxies` say whether a request came by TLS.

    Raises `BadSetting` for settings that contradict each other or are malformed.
    """

    def __init__(self, settings: Settings, proxies: TrustedProxies) -> None:
        self._proxies = proxies
        self._allowed = {origin.lower() for origin in settings.allow_origin}
        self._credentials = settings.allow_credentials
        if self._credentials and ANY_ORIGIN in self._allowed:
            raise BadSetting(
                f"{flag('allow_credentials')} takes origins by their names: with "
                f"{flag('allow_origin')} {ANY_ORIGIN} every page would act as its reader"
            )
        self.preflight = {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST",
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ", ".join(
                (ALLOWED_HEADERS, *settings.allow_header)
            ),
            hdrs.ACCESS_CONTROL_MAX_AGE: "7200",
        }
        """The headers of the answer to a preflight request of a browser's (WHATWG Fetch)."""

    def is_own(self, request: web.Request, origin: str) -> bool:
        """Return whether an origin is the one that a request was sent to.

        An `https:` origin is also the service's own where a proxy ends TLS. An `http:` origin is
        not for a request that came by TLS: whoever is on the network writes the pages of that
        origin.

        A proxy that puts its own name into `Host` passes on the browser's `Sec-Fetch-Site`, or the
        host in `X-Forwarded-Host`. No script can set the first. The second is not among
        `ALLOWED_HEADERS`; a page whose name leads to that proxy can set it, and so it counts only
        for a host that the service answers.
        """
        scheme, _, host = origin.lower().partition("://")
        if scheme == "http" and self._proxies.came_by_tls(request):
            return False
        if request.headers.get("Sec-Fetch-Site") == "same-origin":
            return True
        if not host or scheme not in ("http", "https"):
            return False
        if host == request.host.lower():
            return True
        # Each proxy on the way has added its own.
        forwarded = request.headers.get("X-Forwarded-Host", "").lower().split(",")
        if host not in map(str.strip, forwarded):
            return False
        hosts = service(request)[HOSTS]
        return hosts is None or hosts.answers(host, came_to=None)

    def is_allowed(self, origin: str) -> bool:
        """Return whether a foreign origin is among the allowed ones."""
        return origin.lower() in self._allowed or ANY_ORIGIN in self._allowed

    def check(self, request: web.Request) -> None:
        """Raise `ForbiddenOrigin` for a request whose origin is neither own nor allowed."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or self.is_own(request, origin) or self.is_allowed(origin):
            return
        shown = origin.encode("ascii", "replace").decode()
        raise ForbiddenOrigin(
            f"The origin {shown} may not use this service; "
            f"{flag('allow_origin')} would let it."
        )

    def may_send_cookies(self, request: web.Request) -> bool:
        """Return whether the cookies of a request count: its page may act for the page's reader.

        A request without an origin is none of a script of another origin's.
        """
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or self.is_own(request, origin):
            return True
        return self._credentials and self.is_allowed(origin)

    def check_own_form(self, request: web.Request) -> None:
        """Raise `ForbiddenOrigin` for a form that a page of another origin has sent.

        So no page signs its reader in as somebody else, or out. Browsers send `Origin` with every
        form; `Sec-Fetch-Site` is there for those that leave it out.
        """
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            site = request.headers.get("Sec-Fetch-Site", "none")
            own = site in ("same-origin", "none")
        else:
            own = self.is_own(request, origin)
        if not own:
            raise ForbiddenOrigin("This form belongs to the service's own pages.")

    def check_start_by_get(
        self, request: web.Request, media_types: Sequence[str]
    ) -> None:
        """Raise `ForbiddenOrigin` for a GET by which a page would start a reply unasked.

        Images and links make such a request, which has no `Origin`. `media_types` are those in
        which the reply can be had.
        """
        headers = request.headers
        if hdrs.ORIGIN in headers:
            return
        site = headers.get("Sec-Fetch-Site")
        if site is None:
            # [RFC 9110, 5.3] Several lines of a header are one list.
            accept = ",".join(headers.getall(hdrs.ACCEPT, ()))
            agent = headers.get(hdrs.USER_AGENT, "")
            if _is_element(accept, agent, media_types):
                raise ForbiddenOrigin(
                    "An image or a link of a page may not begin a reply; a client begins "
                    f"one with Accept: {EVENT_STREAM}, or by POST."
                )
        elif site == "same-origin":
            # What a model writes may be a link to this service, which the reader follows.
            if headers.get("Sec-Fetch-Mode") == "navigate":
                raise ForbiddenOrigin("A link may not begin a reply.")
        elif site != "none" and ANY_ORIGIN not in self._allowed:
            raise ForbiddenOrigin("A page of another origin may not begin a reply.")

    def cors_headers(self, request: web.Request) -> dict[str, str]:
        """Return the headers that let the page of an allowed origin read the answer."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or not self.is_allowed(origin):
            return {}
        headers: dict[str, str] = {
            hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin,
            hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: EXPOSED_HEADERS,
        }
        if self._credentials:
            headers[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"
        return headers


ORIGINS = web.AppKey("origins", Origins)
"""The key of the application's allowed origins."""


def _is_element(accept: str, agent: str, media_types: Sequence[str]) -> bool:
    """Return whether `Accept` and `User-Agent` are those of an element of a page, not a script's.

    Elements ask for what they show, such as `image/avif` or `text/html`, or for anything at all. A
    native `EventSource` asks for `EVENT_STREAM`.
    """
    wanted = {name for name, weight in parse_weights(accept.lower()) if weight}
    wanted.discard("")
    if any(not any(covers(name, each) for each in media_types) for name in wanted):
        return True
    return agent.startswith(BROWSER) and EVENT_STREAM not in wanted
