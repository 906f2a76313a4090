"""A Redis that the service knows only as the user of the README, who has the least rights."""

from __future__ import annotations

import re

from tests.readme import blocks
from tests.redis_server import RedisServer

USER = "chatsvc:a-secret@"
"""The user of the README's example with the password, as it stands in an address."""

IN_A_CLUSTER = "+asking '+cluster|slots' +command"
"""The further rights that the README names for a Cluster."""

FOR_A_DATABASE = "+select"
"""The further right that the README names for a database other than 0."""

FOR_SENTINEL = "'+sentinel|masters'"
"""The right that the README names for a user of the Sentinels."""


def acl_command() -> str:
    """Return the README's `redis-cli` command line that makes the user."""
    [command] = blocks("sh", "ACL SETUSER")
    return command


def rights() -> list[str]:
    """Return the rights that the command gives, without their `+`."""
    return re.findall(r"\+([a-z|]+)", acl_command())


def limit(server: RedisServer, *more: str) -> None:
    """Make the user on a server, with `more` rights."""
    server.allow(acl_command())
    for right in more:
        server.allow(f"redis-cli ACL SETUSER chatsvc {right}")


class LimitedServer(RedisServer):
    """A server whose URLs are those of the user with the least rights."""

    def start(self) -> None:
        """Start the server, and make the user."""
        super().start()
        limit(self)

    def database(self, number: int) -> str:
        """Return the URL of one of the databases."""
        return f"redis://{USER}127.0.0.1:{self.port}/{number}"
