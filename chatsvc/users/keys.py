"""API keys: who holds one, what it lets its user do, and how a request's key is found.

The service knows a key by its SHA-256, so whoever reads a file of keys learns none that a client
could send; plain keys, as `CHATSVC_API_KEYS` has them, stay in the settings.
`chatsvc.users.keys_file` reads the keys of a file, and `chatsvc.users.current_keys` holds those
that are good now (PROTOCOL.md section 9).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cached_property

import msgspec

from chatsvc.client_limits import ClientLimits
from chatsvc.settings import BadSetting, variable
from chatsvc.users.identity import CHAT, Identity
from chatsvc.users.signatures import Signer

LEAST_KEY_CHARACTERS = 16
"""The fewest characters of a plain key.

Whoever reaches the service may try keys for ever, and a hash that leaks may be tried against words
at billions a second: shorter keys are found.
"""

_PLAIN_KEY = re.compile(rf"[!-~]{{{LEAST_KEY_CHARACTERS},}}", re.ASCII)


class ApiKey(msgspec.Struct, frozen=True):
    """An API key as the service knows it.

    `name` is its user, `digest` its SHA-256 in 64 lower-case hexadecimal digits. `scopes` are what
    its user may do with it, `limits` how much of the service.
    """

    name: str
    digest: str
    scopes: frozenset[str] = frozenset({CHAT})
    limits: ClientLimits = ClientLimits()

    def identity(self) -> Identity:
        """Return the identity of the sender of a request that rests on this key."""
        return Identity(self.name, self.digest, self.scopes, self.limits)


def digest_of(token: str) -> str:
    """Return the SHA-256 of a key as clients send it, in lower-case hexadecimal digits.

    Bytes of a header that are not UTF-8 are those that came: they stand in `token` as lone
    surrogates.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


class KeyRing:
    """An immutable set of API keys, of which any number may belong to one user.

    Raises `ValueError` for two keys of one digest.
    """

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._by_digest: dict[str, ApiKey] = {}
        for key in keys:
            if key.digest in self._by_digest:
                raise ValueError(
                    f"a key of {self._by_digest[key.digest].name!r} and one of {key.name!r} are "
                    "the same"
                )
            self._by_digest[key.digest] = key

    def __len__(self) -> int:
        """Return how many keys there are."""
        return len(self._by_digest)

    def __repr__(self) -> str:
        """Return how many keys there are, in words: digests are secrets."""
        return f"<KeyRing of {len(self)} keys>"

    def find(self, token: str) -> ApiKey | None:
        """Return the key that a client has sent, or None.

        How long that takes says nothing of the keys there are: what is looked up is a digest, of
        which no sender can choose a single digit.
        """
        return self._by_digest.get(digest_of(token))

    def by_digest(self, digest: str) -> ApiKey | None:
        """Return the key that has a SHA-256 (lower-case hexadecimal digits), or None."""
        return self._by_digest.get(digest)

    def __iter__(self) -> Iterator[ApiKey]:
        """Return an iterator over all keys, in the order in which they were given."""
        return iter(self._by_digest.values())

    @cached_property
    def signer(self) -> Signer:
        """What signs and verifies the tokens that rest on these keys."""
        return Signer(self._by_digest)

    def users(self) -> frozenset[str]:
        """Return the names of the users who have a key to chat with."""
        return frozenset(key.name for key in self if CHAT in key.scopes)


def plain_keys(text: str) -> list[ApiKey]:
    """Return the keys that a text has, separated by white space, as `CHATSVC_API_KEYS` holds them.

    The user of each is `key-` and the first 8 digits of its SHA-256.

    Raises `BadSetting`, which shows no key, for one of other characters than visible ASCII, for a
    short one, and for one that is there twice.
    """
    keys: dict[str, ApiKey] = {}
    for number, token in enumerate(text.split(), 1):
        if not _PLAIN_KEY.fullmatch(token):
            raise BadSetting(
                f"{variable('api_keys')} takes keys of at least {LEAST_KEY_CHARACTERS} visible "
                f"ASCII characters, separated by spaces; key {number} is none"
            )
        digest = digest_of(token)
        if digest in keys:
            raise BadSetting(
                f"{variable('api_keys')} takes each key once; key {number} is there twice"
            )
        keys[digest] = ApiKey(f"key-{digest[:8]}", digest)
    return list(keys.values())
