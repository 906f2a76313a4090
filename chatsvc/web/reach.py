"""Who can reach the service: whether an address is this machine's alone, and what follows from it.

A service without users that other machines reach lets anyone there use the operator's model, and
its figures say how the service is used (PROTOCOL.md section 8).
"""

from __future__ import annotations

import logging
import socket

from chatsvc.host_names import address_of
from chatsvc.settings import BadSetting, Settings
from chatsvc.users.current_keys import has_keys

logger = logging.getLogger("chatsvc")


def is_loopback(host: str) -> bool:
    """Return whether whoever listens on `host`, an address or a name, is reached from here alone.

    An empty host stands for all addresses. A name must stand for loopback addresses only; one that
    can't be looked up counts as such a name, for nothing can listen on it.
    """
    if not host:
        return False
    try:
        found = socket.getaddrinfo(
            host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError):
        return True
    return all(address_of(str(address[0])).is_loopback for *_, address in found)


def is_local(settings: Settings) -> bool:
    """Return whether only this machine reaches the places where the service listens."""
    return not _beyond(settings)


def _beyond(settings: Settings) -> list[str]:
    """Return the hosts on which other machines reach the service."""
    return [host for host in settings.hosts if not is_loopback(host)]


def check_reach(settings: Settings) -> None:
    """Do nothing when only this machine reaches the service, it has users, or `--open` lets all in.

    Raises `BadSetting` otherwise.
    """
    beyond = _beyond(settings)
    if settings.open or has_users(settings) or not beyond:
        return
    raise BadSetting(
        f"--host {beyond[0] or repr('')} can be reached from other machines, and without users "
        "anyone there may use the service: give users keys (CHATSVC_API_KEYS or --api-keys-file), "
        "listen on 127.0.0.1 behind a proxy that lets the right people in, have a --trusted-proxy name "
        "users (--user-header) or a function of your own do so (--authorize), or let anyone in with "
        "--open"
    )


def has_users(settings: Settings) -> bool:
    """Return whether the service wants to know who a request is from."""
    return bool(has_keys(settings) or settings.user_header or settings.authorize)


def warn_if_open(settings: Settings) -> None:
    """Log a warning when other machines reach the service, and it has no users.

    `check_reach` has let that pass.
    """
    beyond = _beyond(settings)
    if beyond and not has_users(settings):
        where = ", ".join(host or "this machine" for host in beyond)
        logger.warning("the service is open: whoever reaches %s may use it", where)


def has_metrics(settings: Settings) -> bool:
    """Return whether `/metrics` stands on the service's own port.

    It does where there is no admin port, and only this machine reaches the service, or it has keys,
    of which some may have the scope for it. The address of a client never decides it: behind a
    proxy on the same machine, everybody comes from there.
    """
    return settings.admin_port is None and (has_keys(settings) or is_local(settings))
