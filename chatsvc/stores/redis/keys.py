"""The names of all keys in Redis.

`{T}` is a hash tag: Redis Cluster keeps keys of one tag on one master, so that a script may use
them together. All keys of one reply, and those of the nodes that a script uses with them, have one
tag. `chatsvc` stands for the prefix, which `--store-prefix` sets.

    chatsvc:{T}:ID          hash: the record, the owner and its epoch (fields: see `entries`)
    chatsvc:{T}:ID:log      stream: what arrived, and when (fields: see `entries`)
    chatsvc:{T}:ID:gone     string, set with the end and kept a day longer: the id was known
    chatsvc:{T}:ID:readers  hash: which nodes have readers or have none any more, and since when
    chatsvc:{T}:nodes       sorted set: the leases of the nodes (see `leases`)
    chatsvc:{T}:owned:NODE  set: the ids of the replies that a node owns
    chatsvc:{T}:running:HASH  set: the ids of the replies of an account that run (see `limits`)
    chatsvc:{T}:starts:HASH string: what an account has started within the last minute
    chatsvc:{T}:news        stream: which replies ended or changed owners (see `follower`)
    chatsvc:{T}:bell:NODE   stream: a node ends its own blocking read by it (see `bell`)
    chatsvc:{T}:rights:NODE what a node writes and deletes at once to find out what it may do
    chatsvc:{T}:key:HASH    string: the reply of an idempotency key, and the digest of its request
    chatsvc:{T}:name:HASH   string: the reply that a name stands for
    chatsvc:{0}:format      string: the `FORMAT` of all this; without it, it is 1
"""

from __future__ import annotations

from zlib import crc32

TAGS_OF_CLUSTER = 8
"""Hash tags over which replies are spread in Redis Cluster; each costs a node one connection that
blocks in a read."""


FORMAT = 1
"""The version of the format of all keys, hashes and entries. It grows when a node of an earlier
version could not read, or would spoil, what this one writes; what it can pass over adds nothing. A
later version may write more behind a full stop (`1.1`): to this one it is the same."""


class HashTag:
    """The names of the keys that the nodes have once for each hash tag.

    `leases` and `news` are names of keys; `owned` and `running` are the prefixes, for scripts, of
    those of `owned_by` and `running_of`.
    """

    def __init__(self, prefix: str, number: int) -> None:
        self.prefix = f"{prefix}:{{{number}}}:"
        self.leases = f"{self.prefix}nodes"
        self.news = f"{self.prefix}news"
        self.owned = f"{self.prefix}owned:"
        self.running = f"{self.prefix}running:"

    def owned_by(self, node: str) -> str:
        """Return the name of the set of what a node owns."""
        return self.owned + node

    def running_of(self, account: str) -> str:
        """Return the name of the set of what runs for an account, by its digest (hexadecimal)."""
        return self.running + account

    def starts(self, account: str) -> str:
        """Return the name of what an account has started, by its digest (hexadecimal)."""
        return f"{self.prefix}starts:{account}"

    def bell(self, node: str) -> str:
        """Return the name of a node's bell."""
        return f"{self.prefix}bell:{node}"

    def rights(self, node: str) -> str:
        """Return the name of the key by which a node finds out what it may do."""
        return f"{self.prefix}rights:{node}"


class Keys:
    """The names of all keys, which begin with `prefix` and a colon.

    The replies are spread over `tags`: several in a Redis Cluster (`cluster`), else one. `format`
    is the name of the key that holds the format's version.
    """

    def __init__(self, prefix: str, *, cluster: bool) -> None:
        self.cluster = cluster
        count = TAGS_OF_CLUSTER if cluster else 1
        self.tags = [HashTag(prefix, number) for number in range(count)]
        self.format = f"{self.tags[0].prefix}format"

    def tag(self, text: str) -> HashTag:
        """Return the hash tag that a reply id, or a hash in hexadecimal, belongs to."""
        return self.tags[crc32(text.encode()) % len(self.tags)]

    def reply(self, reply_id: str) -> str:
        """Return the name of a reply's hash."""
        return self.tag(reply_id).prefix + reply_id

    def stream(self, reply_id: str) -> str:
        """Return the name of a reply's stream."""
        return f"{self.reply(reply_id)}:log"

    def gone(self, reply_id: str) -> str:
        """Return the name of the mark that outlives an expired reply."""
        return f"{self.reply(reply_id)}:gone"

    def readers(self, reply_id: str) -> str:
        """Return the name of the hash of the nodes that have readers of a reply."""
        return f"{self.reply(reply_id)}:readers"

    def idempotency(self, digest: str) -> str:
        """Return the name of the key for an idempotency key's digest (hexadecimal)."""
        return f"{self.tag(digest).prefix}key:{digest}"

    def name(self, digest: str) -> str:
        """Return the name of the key for a name's digest (hexadecimal)."""
        return f"{self.tag(digest).prefix}name:{digest}"
