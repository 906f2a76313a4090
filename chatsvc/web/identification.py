"""The step from a request to the identity of its sender, and to what its use is counted by."""

from __future__ import annotations

from aiohttp import web

from chatsvc.host_names import client_network
from chatsvc.users.identity import STRANGER, Identity
from chatsvc.web.app_keys import AUTHORIZE, IDENTITY
from chatsvc.web.authorization import authorized_user
from chatsvc.web.proxies import PROXIES

PUBLIC_PATHS = ("/healthz", "/readyz", "/metrics", "/static/")
"""The beginnings of the paths that need no authorization."""


async def identify(request: web.Request, app: web.Application, path: str) -> None:
    """Keep the identity of a request's sender with the request, under `IDENTITY`.

    `path` is that of the request below the prefix of the application. Without users, and for
    `PUBLIC_PATHS`, everybody is a stranger. Where there is an operator's own function, it alone says
    who a request is from; else the header that a trusted proxy writes does.

    Raises `Unauthorized` when a user is wanted and the request names none, and `BadRequest` when
    what a proxy names is no user's name.
    """
    if path.startswith(PUBLIC_PATHS):
        return
    authorize, proxies = app[AUTHORIZE], app[PROXIES]
    if authorize is not None:
        seen = proxies.without_hidden(request)
        user = await authorized_user(seen, authorize)
        if seen is not request:
            request.update(seen)  # what the function keeps with the request
        request[IDENTITY] = Identity(user)
    elif proxies.user_header:
        request[IDENTITY] = Identity(proxies.user_of(request))


def identity_of(request: web.Request) -> Identity:
    """Return who a request is from: `STRANGER` where the service has no users."""
    identity: Identity = request.get(IDENTITY, STRANGER)
    return identity


def account_of(identity: Identity, address: str) -> str:
    """Return what the use of the service is counted by: the user's name, else the client's address.

    Of an IPv6 address it is the network that one client has. A user and an address never coincide.
    """
    if identity.user:
        return f"user:{identity.user}"
    return f"address:{client_network(address)}"
