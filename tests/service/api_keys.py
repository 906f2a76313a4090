"""Users with API keys, for the tests of what keys let them do."""

from __future__ import annotations

import hashlib
from pathlib import Path

from aiohttp import web

from chatsvc.settings import Settings
from chatsvc.users.current_keys import read_keys
from chatsvc.users.keys import ApiKey, KeyRing, digest_of
from chatsvc.web.app_keys import KEYS

TOKENS = {
    name: f"the-key-of-{name}-and-of-nobody-else"
    for name in ("alice", "alices-second", "bob", "operator")
}
"""The keys, by what stands for each in these tests; what is before a dash is the user."""

SCOPES = dict.fromkeys(TOKENS, "chat") | {"operator": "admin"}


KEY, OTHER = TOKENS["alice"], TOKENS["bob"]
ALICE, BOB = ApiKey("alice", digest_of(KEY)), ApiKey("bob", digest_of(OTHER))
RING = KeyRing([ALICE, BOB])
"""A key of each of two users, for services without a file."""


def replace_keys(app: web.Application, ring: KeyRing) -> None:
    """Let a service in this process have other keys."""
    keys = app[KEYS]
    assert keys is not None
    keys.replace(ring)


def bearer(name: str) -> str:
    """The line of a header that sends a key."""
    return f"Authorization: Bearer {TOKENS[name]}"


def authorization(name: str) -> dict[str, str]:
    """The same for clients that take headers as a mapping."""
    return {"Authorization": f"Bearer {TOKENS[name]}"}


def written(*names: str) -> str:
    """A file with some of the keys."""
    return "\n".join(
        f'[[key]]\nname = "{name.removesuffix("s-second")}"\n'
        f'sha256 = "{hashlib.sha256(TOKENS[name].encode()).hexdigest()}"\n'
        f'scopes = ["{SCOPES[name]}"]\n'
        for name in names
    )


class KeysFile:
    """A file of keys, as an operator keeps one."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.path = folder / "keys.toml"
        self.has(*(names or TOKENS))

    def has(self, *names: str) -> None:
        """Let the file have some of the keys, and no others."""
        self.path.write_text(written(*names))

    def settings(self, **others: object) -> Settings:
        """The settings of a service with these keys."""
        return Settings(api_keys_file=str(self.path), **others)  # type: ignore[arg-type]

    def read_again(self, app: web.Application, settings: Settings) -> None:
        """Have a service in this process do what the command does at SIGHUP."""
        replace_keys(app, read_keys(settings, again=True))
