"""The limits of starts in Redis, which count the replies of all nodes.

`create.lua` counts and refuses in the step that creates a reply, so that no two nodes can take the
same last place, and a start costs no command more. It goes by

- the sets of what each node owns, which have all replies that run, also those of the dead;
- for each account a set of its running replies, from which a reply goes in the same step as from
  its owner's set. What Redis or a node of an earlier version leaves behind in it is found when the
  limit is reached;
- for each account the numbers of its starts (see `chatsvc.replies.starts`), which expire.

A script has keys of one hash tag alone. A new reply is therefore given an id that has its account's
tag. Of what runs under other tags, which only a Redis Cluster has, this knows what it was at the
last renewal of the lease.

An account is known by its SHA-256, for it may be anything of any length.
"""

from __future__ import annotations

import asyncio
import hashlib

from chatsvc.client_limits import (
    StartLimits,
    too_many_in_all,
    too_many_running,
    too_many_starts,
)
from chatsvc.cursor import new_reply_id
from chatsvc.problem import Problem
from chatsvc.stores.redis.commands import Commands
from chatsvc.stores.redis.keys import HashTag, Keys
from chatsvc.stores.redis.scripts import COUNT_RUNNING


class Limits:
    """The part of the store that knows by what starts are counted."""

    def __init__(self, commands: Commands, keys: Keys) -> None:
        self._commands = commands
        self._keys = keys
        # At the last look, and only if there are several tags.
        self._running: dict[HashTag, int] = {}

    def new_reply_id(self, account: str) -> str:
        """See `Cluster.new_reply_id`."""
        reply_id = new_reply_id()
        if account and len(self._keys.tags) > 1:
            tag = self._keys.tag(digest_of(account))
            while self._keys.tag(reply_id) is not tag:
                reply_id = new_reply_id()
        return reply_id

    def elsewhere(self, tag: HashTag) -> int:
        """Return how many replies ran under other hash tags at the last look."""
        return sum(count for other, count in self._running.items() if other is not tag)

    async def look(self) -> None:
        """Look how many replies run under each hash tag, if there are several.

        Raises `StoreUnavailable`.
        """
        tags = self._keys.tags
        if len(tags) > 1:
            run = self._commands.run
            counts = (run(COUNT_RUNNING, [tag.leases, tag.owned]) for tag in tags)
            self._running = dict(zip(tags, await asyncio.gather(*counts), strict=True))


def digest_of(account: str) -> str:
    """Return the digest by which Redis knows an account; "" for none."""
    return hashlib.sha256(account.encode()).hexdigest()[:32] if account else ""


def refusal(limits: StartLimits, limit: str, wait_ms: int = 0) -> Problem:
    """Return the problem of a start that `create.lua` has refused, by the words that it returns."""
    if limit == "full":
        return too_many_in_all(limits.in_all)
    if limit == "running":
        return too_many_running(limits.running)
    return too_many_starts(limits.starts, max(1, -(-wait_ms // 1000)))
