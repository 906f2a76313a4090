"""The Lua scripts: every write to a reply, with its checks, is one atomic step in Redis.

Each script is a file `scripts/NAME.lua`, whose head says what its KEYS and ARGV are and what it
returns; `scripts/lib.lua` is put before it. Which fields they write is in `entries`, which keys
there are in `keys`.

Invariants:
- Every script may be run twice, because it is sent again when its answer was lost: the second run
  changes nothing.
- A script that takes an epoch does nothing for a node that is not the owner in this epoch. So an
  owner that was paused for long, and wakes when another has taken over, can't write.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent / "scripts"
"""The folder of the scripts; they are package data, so it is there however chatsvc is installed."""


class Script:
    """A script: its `source`, and the `sha1` by which EVALSHA runs it once it has been loaded."""

    __slots__ = ("sha1", "source")

    def __init__(self, name: str) -> None:
        parts = [FOLDER / "lib.lua", FOLDER / f"{name}.lua"]
        self.source = "".join(part.read_text("utf-8") for part in parts)
        data = self.source.encode()
        self.sha1 = hashlib.sha1(data, usedforsecurity=False).hexdigest()


CREATE = Script("create")
COUNT_RUNNING = Script("count_running")
WRITE = Script("write")
FINISH = Script("finish")
TAKE_OVER = Script("take_over")
RELEASE = Script("release")
IS_QUIET = Script("is_quiet")
RENEW = Script("renew")
FORGET_NODE = Script("forget_node")
MARK_READERS = Script("mark_readers")
LAST_READ = Script("last_read")
REMEMBER = Script("remember")
FORGET = Script("forget")
TIME = Script("time")
RIGHTS = Script("rights")

ALL = (
    CREATE,
    COUNT_RUNNING,
    WRITE,
    FINISH,
    TAKE_OVER,
    RELEASE,
    IS_QUIET,
    RENEW,
    FORGET_NODE,
    MARK_READERS,
    LAST_READ,
    REMEMBER,
    FORGET,
    TIME,
    RIGHTS,
)
"""All scripts, to be loaded into Redis."""
