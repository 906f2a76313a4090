"""The API keys that are good now, and what ends when they are read again.

Invariants:

- A service that has begun with keys has them for its life: where none is left, nobody is let in.
- The keys are replaced whole or not at all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from chatsvc.settings import BadSetting, Settings, flag, variable
from chatsvc.users.identity import CHAT
from chatsvc.users.keys import ApiKey, KeyRing, plain_keys
from chatsvc.users.keys_file import read_keys_file

logger = logging.getLogger("chatsvc")


def has_keys(settings: Settings) -> bool:
    """Return whether the settings name API keys, so that nobody is let in without one."""
    return bool(settings.api_keys.split() or settings.api_keys_file)


def read_keys(settings: Settings, *, again: bool = False) -> KeyRing:
    """Return the API keys that the settings name: those of the variable, and those of the file.

    `again` is whether the file has been read before. Raises `BadSetting`.
    """
    plain = plain_keys(settings.api_keys)
    path = settings.api_keys_file
    filed = read_keys_file(path, again=again) if path else []
    both = {key.digest for key in plain}
    for number, key in enumerate(filed, 1):
        if key.digest in both:
            raise BadSetting(
                f"{flag('api_keys_file')} {path}: key {number} ({key.name}) is in "
                f"{variable('api_keys')}, too: each key is there once"
            )
    return KeyRing((*plain, *filed))


def read_keys_again(settings: Settings, *, quietly: bool = False) -> KeyRing | None:
    """Return the API keys that the settings name now; None if they can't be read.

    Why they can't is logged, but with `quietly`.
    """
    try:
        return read_keys(settings, again=True)
    except BadSetting as error:
        if not quietly:
            logger.error("the API keys stay as they are: %s", error)
        return None


def report_keys(ring: KeyRing) -> None:
    """Log how many API keys there are; it is a warning where there is none."""
    users = len({key.name for key in ring})
    if users:
        logger.info("API keys: %d, of users: %d", len(ring), users)
    else:
        logger.warning("there is no API key: nobody is let in")


class Withdrawal(msgspec.Struct, frozen=True):
    """What has ended with a replacement of the keys.

    `keys` are the digests of the keys whose identities have ended: those that are gone, have
    another user, or may not chat any more. `users` are the names of the users who have no key left
    to chat with.
    """

    keys: frozenset[str]
    users: frozenset[str]


class CurrentKeys:
    """The API keys of a service: `ring` has those that are good now.

    `ended_users` are the users whose last key has been withdrawn; one that gets a key again is none
    of them.
    """

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring
        self.ended_users: frozenset[str] = frozenset()
        self._listeners: list[Callable[[Withdrawal], None]] = []

    def on_withdrawal(self, listener: Callable[[Withdrawal], None]) -> None:
        """Call `listener` from now on, after each replacement that ends a key's identity."""
        self._listeners.append(listener)

    def replace(self, ring: KeyRing) -> None:
        """Let the keys of `ring` be good in place of those that are, and tell the listeners."""
        before, self.ring = self.ring, ring
        ended = frozenset(key.digest for key in before if not _lasts(key, ring))
        users = before.users() - ring.users()
        self.ended_users = (self.ended_users | users) - ring.users()
        if ended:
            for listener in self._listeners:
                listener(Withdrawal(ended, users))


def _lasts(key: ApiKey, ring: KeyRing) -> bool:
    """Return whether what rests on a key goes on with the keys of `ring`."""
    now = ring.by_digest(key.digest)
    if now is None or now.name != key.name:
        return False
    return CHAT in now.scopes or CHAT not in key.scopes
