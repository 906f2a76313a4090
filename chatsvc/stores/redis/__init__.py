"""The store in Redis: replies live in one Redis, and any number of nodes share them.

    store        RedisStore: puts the parts together, implements Store and FollowerListener
    cluster      ManyNodes: implements Cluster, over owner, presence and leases
    logs         the live logs of this node; finds replies
    owner        this node's own replies: creates and writes them, takes over and releases
    appender     writes what all of them have that one hash tag has, some milliseconds at a time
    outbox       what is still to be written of one of them
    owner_scripts  the arguments of the scripts that it runs
    leases       this node's sign of life, the clock, and the search for replies of dead nodes
    limits       by what starts are counted, and what they are refused with
    presence     which nodes have readers of a reply, and whether one still works on it
    idempotency  which reply a key or a name stands for
    rights       at the start: may the user of Redis do all that the store does?
    followers    the followers of all hash tags; how far text may be released
    follower     one blocking read for all streams of a hash tag; fills the logs
    followed     one log that is filled by it
    bell         how a node ends that blocking read
    commands     all other commands, in batches, with retries
    pages        the entries of a stream, read and taken some at a time
    records      the record in a reply's hash, with the prompt, and without it after the end
    writes       the argument and the answer of the script that writes several replies
    entries      the fields of hash, stream and news: encode, decode, apply to a log
    scripts      the Lua scripts, from scripts/*.lua
    keys         the names of all keys
    connect      from an address to a client; which errors are transient
    tasks        how a task is ended; tasks that no caller waits for

A module imports only those below it in this list.

A write: RedisStore.append → Owner → Outbox → Appender → Commands → write.lua, which checks owner and
epoch of each reply. When Redis has acknowledged the entry, Follower.apply_own brings it into the log.

A read on another node: RedisStore.find → Logs reads hash and stream once, and a Follower goes on
from the last entry. What arrives is brought into the log, which wakes its readers; `Clock.limit`
keeps text back until it is certain that no stop has arrived before it.

Redis away: Commands and Follower try again until the patience of each call is over. Then replies
end as failed on this node, and Redis gets that end when it is back. When a node dies, its lease
runs out, and the Leases of another node find what it owned.
"""

from chatsvc.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
