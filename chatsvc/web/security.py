"""The headers by which browsers and caches restrict what becomes of an answer."""

from __future__ import annotations

_NO_SNIFFING = {"X-Content-Type-Options": "nosniff"}
_OWN_WINDOW = {"Cross-Origin-Opener-Policy": "same-origin"}

SECURITY_HEADERS = {
    **_NO_SNIFFING,
    "Referrer-Policy": "no-referrer",
    **_OWN_WINDOW,
    "X-Frame-Options": "DENY",
}
"""The headers of every answer; one that sets such a header itself keeps its own value."""

CACHE_HEADERS = {
    "Cache-Control": "private, no-store",
    "Vary": "Accept, Authorization, Cookie, Last-Event-ID, Sec-Fetch-Site",
}
"""The headers of every answer that sets no others of its own about caches (PROTOCOL.md section 2).

`Vary` is the same for every request: a cache takes that of the answer it has for that of all.
"""

VARY_ORIGIN = "Origin"
"""The member of every answer's `Vary`: pages of allowed origins get more headers (WHATWG Fetch)."""

SERVER = "chatsvc"
"""The value of the header `Server`: versions would say which known faults to try."""

FILE_HEADERS = _NO_SNIFFING
"""The headers of the files that the chat page loads."""


def page_headers(style_hash: str) -> dict[str, str]:
    """Return the headers of a page that runs scripts and connects to the service.

    `style_hash` is the hash source of the style sheet that stands in the page, such as
    `'sha256-…'` with the quotation marks (CSP Level 3, section 2.3.1). No other styles apply.
    """
    return {
        # No other script or style sheet inline, no other host. 'self' covers WebSockets of the same
        # host too, and `data:` is an image that is in a reply already, so that showing it tells nobody.
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
        f"style-src {style_hash}; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'",
        **_OWN_WINDOW,
        # The host of a link in a reply must not learn where the reader comes from; the service
        # itself may.
        "Referrer-Policy": "same-origin",
        **_NO_SNIFFING,
    }
