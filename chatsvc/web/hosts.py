"""The check of the host that a request names (PROTOCOL.md section 2).

A page can have the name of its own site lead to the address of this service (DNS rebinding). The
browser then takes the service for a part of that site: it sends no foreign `Origin`, and lets the
page read all answers. The page cannot change that the request names that site in `Host`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from aiohttp import hdrs, web

from chatsvc.host_names import address_of, host_of, normal_host
from chatsvc.problems import MisdirectedRequest
from chatsvc.settings import BadSetting, flag
from chatsvc.web.app_keys import inner_path

ANY_HOST = "*"
"""The setting that stands for every host, also for requests that name none."""

KNOWN_HOSTS = 64
"""The hosts whose answer is remembered: to parse a host and its addresses costs as much as to parse
the request. Clients name a handful."""

ANY_HOST_PATHS = ("/healthz", "/readyz")
"""The paths that are answered whatever the host: what asks for them often knows an address alone.

Their answers are the same for everybody.
"""


class Hosts:
    """The hosts that the service answers.

    These are `localhost` and the names below it, loopback addresses, the address that the
    connection came to, and `allowed`: names, addresses, `.example` for `example` and all names
    below it, and `*`. A connection that came to the loopback may also name `0.0.0.0` or `[::]`,
    which lead there.

    Raises `BadSetting` for an allowed host that is none of these.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self._any = False
        self._names = {"localhost"}
        self._parents = [".localhost"]
        for text in allowed:
            try:
                host = text if text == ANY_HOST else normal_host(text.removeprefix("."))
            except ValueError:
                raise BadSetting(f"{flag('allow_host')}: no host is {text!r}") from None
            self._any |= host == ANY_HOST
            self._names.add(host)
            if text.startswith("."):
                self._parents.append(f".{host}")
        self._remembered = lru_cache(KNOWN_HOSTS)(self._answers)

    def answers(self, authority: str, came_to: str | None) -> bool:
        """Return whether the service answers a request that names a host.

        `authority` is the host, with its port or without, as `Host` has it. `came_to` is the IP
        address of the service's end of the connection; None if it is not known.
        """
        return self._any or self._remembered(authority, came_to)

    def _answers(self, authority: str, came_to: str | None) -> bool:
        try:
            host = host_of(authority)
        except ValueError:
            return False
        if host in self._names or host.endswith(tuple(self._parents)):
            return True
        try:
            address = address_of(host)
            came = None if came_to is None else address_of(came_to)
        except ValueError:
            return False
        if address.is_loopback or address == came:
            return True
        return address.is_unspecified and came is not None and came.is_loopback

    def check(self, request: web.Request) -> None:
        """Raise `MisdirectedRequest` for a request to a host that the service does not answer.

        A request that came by a Unix socket has passed a server that knows its own hosts.
        """
        if self._any:
            return
        named = request.headers.getall(hdrs.HOST, [])
        # What is answered whatever the request came to, as most are: to find that out is a call of
        # the system.
        if (
            len(named) == 1
            and named[0] == request.host
            and self.answers(named[0], None)
        ):
            return
        if inner_path(request) in ANY_HOST_PATHS:
            return
        came_to = request.get_extra_info("sockname")
        if isinstance(came_to, (str, bytes)):  # a Unix socket's name, which may be ""
            return
        if not named:
            raise MisdirectedRequest("The request names no host.")
        # A request line with a whole URL names the host as well [RFC 9112, 3.2.2]. aiohttp gives
        # that one without the brackets of an IPv6 address.
        target = request.host
        if target.count(":") > 1 and not target.startswith("["):
            target = f"[{target}]"
        for authority in (*named, target):
            if not self.answers(authority, came_to[0] if came_to else None):
                raise MisdirectedRequest(_refusal(authority))


def _refusal(authority: str) -> str:
    try:
        host = host_of(authority)
    except ValueError:
        return "The request names no host that there can be."
    return (
        f"{host} is none of the service's hosts; "
        f"{flag('allow_host')} {host} would make it one."
    )


HOSTS: web.AppKey[Hosts | None] = web.AppKey("hosts")
"""The key of the hosts that the application answers; its value is None if it answers all."""
