"""The environment's say in how a client reaches a server: proxies, and the passwords of netrc.

The variables are those that curl and Python's urllib know: `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`,
in lower case, too (and on macOS and Windows the system's settings), and `NETRC`.
"""

from __future__ import annotations

import netrc
import os
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from chatsvc.host_names import is_loopback_host


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy from the environment; `url` is its URL, perhaps with a password."""

    url: URL
    variable: str
    """The name of the variable that usually sets it, as `HTTP_PROXY`."""

    @property
    def shown(self) -> str:
        """The proxy for people, as `the proxy http://proxy:3128 (HTTP_PROXY)`: no password."""
        return f"the proxy {self.url.origin()} ({self.variable})"


def is_loopback(url: URL) -> bool:
    """Return whether a URL's host is this machine's loopback interface, by its name or address."""
    return is_loopback_host((url.host or "").rstrip(".").lower())


def proxy_of(url: URL) -> Proxy | None:
    """Return the proxy through which `url` is to be asked, or None.

    The loopback interface has none, whatever the variables say: no proxy reaches this machine's.
    """
    if url.host is None or is_loopback(url) or proxy_bypass(url.host):
        return None
    scheme = {"ws": "http", "wss": "https"}.get(url.scheme, url.scheme)
    text = getproxies().get(scheme)
    if not text:
        return None
    # curl and urllib take a proxy without a scheme.
    proxy = URL(text if "://" in text else f"http://{text}")
    if not proxy.host:
        return None
    if proxy.user is None and (known := _netrc_login(proxy)) is not None:
        proxy = proxy.with_user(known[0]).with_password(known[1])
    return Proxy(proxy, f"{scheme.upper()}_PROXY")


def netrc_authorization(url: URL) -> str | None:
    """Return the `Authorization` field that the netrc file has for a URL's host, or None.

    A file that can't be read counts as none.
    """
    known = _netrc_login(url)
    return None if known is None else basic_authorization(*known)


def _netrc_login(url: URL) -> tuple[str, str] | None:
    name = os.environ.get("NETRC")
    if url.host is None:
        return None
    try:
        path = Path(name) if name else Path.home() / ".netrc"
        found = netrc.netrc(str(path)).authenticators(url.host)
    except (OSError, RuntimeError, netrc.NetrcParseError):
        return None
    return None if found is None else (found[0], found[2] or "")


def basic_authorization(user: str, password: str) -> str:
    """Return the value of an `Authorization` field of the scheme Basic (RFC 7617)."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
