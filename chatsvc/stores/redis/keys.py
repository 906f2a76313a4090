"""Where everything stands in Redis.

Keys, all of one reply with the same hash tag `{T}`:

    chatsvc:{T}:ID              hash: the record, the owner and its epoch (see `scripts`)
    chatsvc:{T}:ID:log          stream: what arrived, and when
    chatsvc:{T}:ID:gone         set with the end, for a day longer than the text: the id was known
    chatsvc:{T}:ID:readers      hash: which nodes read it, or do not any more, and when they said so
    chatsvc:{T}:nodes           sorted set: the leases of the nodes (see `nodes`)
    chatsvc:{T}:owned:NODE      set: the replies that a node owns
    chatsvc:{T}:news            stream: which replies ended or changed hands (see `follower`), a few thousand
    chatsvc:{T}:bell:NODE       stream: rung by a node for itself (see `follower`)
    chatsvc:{T}:key:HASH        which reply was begun under an idempotency key, and by what request
    chatsvc:{T}:name:HASH       which reply a name stands for
"""

from __future__ import annotations

from zlib import crc32

TAGS_OF_CLUSTER = 8
"""Hash tags over which a Cluster's replies are spread; each costs a node one connection that waits."""


class Keys:
    """The keys in the Redis at `address`. `prefixes` are what keys begin with, one for each hash tag."""

    def __init__(self, address: str) -> None:
        count = TAGS_OF_CLUSTER if address.startswith("redis+cluster") else 1
        self.prefixes = [f"chatsvc:{{{tag}}}:" for tag in range(count)]

    def tag(self, name: str) -> int:
        """Which of the prefixes a name belongs to."""
        return crc32(name.encode()) % len(self.prefixes)

    def prefix(self, name: str) -> str:
        """What the keys of a name begin with."""
        return self.prefixes[self.tag(name)]

    def reply(self, reply_id: str) -> str:
        """The hash of a reply; what its other keys begin with."""
        return self.prefix(reply_id) + reply_id
