"""Replies: their life on one node, from the start to the end. No transport and no HTTP here.

A reply's life:

    start     `Replies.start` asks `Admission` for room and the store for a new reply
    producer  a `Producer` reads the backend; its `LogWriter` appends to the log through the store
    log       `chatsvc.log.Log` holds what has arrived, and its schedule says when it is released
    readers   any number of `ReplyReader`s and `PartsReader`s take what is out, each from its own
              position or offset
    end       `Log.planned_end` once the text is complete, `Log.end` once all of it is released;
              a stop, a failure or a departure sets the end earlier
    keep      the store keeps the reply; `Replies.open` finds it, by its id, until it expires

Each module imports only modules below it in this list:

    replies     the service: start, open, check, stop, drain
    share_links tokens that lead to one reply each
    handover    adopts replies of dead nodes, releases this node's own when it leaves
    registry    the open replies by id; ends those that have no reader
    producers   all producers of this node, and the observers that are called for them
    producer    the production of one reply
    outcome     the end that a backend's last item or its failure makes
    log_writer  what a backend yields to units in the log, within limits
    part_writer pieces to text in whole characters, and to marks and texts of side parts
    calls       the calls of tools, and which one a piece belongs to
    extra_members  which members of extras say anything new
    json_values values of a backend, as JSON can hold them
    timer       one call that is due later
    release     the wait until all text is released, and the end that is set then
    memory      what replies hold in memory; stops unread ones when there is no room
    reply       a reply as transports see it; counts its readers
    spans       the interface by which replies have spans in traces
    parts_reader  all units behind an offset, text as it is released
    reader      what is released behind a position, character by character
    log_reader  the base of both: an async generator that can also be read in the ticker
    background  strong references to detached tasks
    admission   how many replies may run, and how many of one account
    starts      how many replies each account has begun within a minute
    departure   whether this node sends its readers away: one object that they share

The package imports the store's interface (`chatsvc.stores.base`), the backend's
(`chatsvc.backends.base`) and what stands below them. Transports and routes use the names below.

Invariants:

- A log is written only by the store: on the node that owns the reply when `append`, `seal` and
  `finish` are called, on the others when a shared store reports what was written. `append` is
  called by `LogWriter` alone, which belongs to a `Producer`, so is `note_usage`, and `seal` by
  `Producer` alone.
- `finish`, or `finish_now` in its place, is called by `Producer` and for it by `end_if_released`, by
  `Producers`, `Registry` (when the grace is over, or memory is short), `Handover` and
  `Replies.stop`. The first end stands, so they need not know of each other.
- `Reply.produced` is set by `Producers`, `Reply.grace` by `Registry`, `Reply.readers` by
  `Reply.reading`, `Departure.leaving` by `Registry`, `Admission.draining` by `Handover`.
- A reply has at most one producer on this node, and every reply that is produced here gets an end
  or another owner.
"""

from chatsvc.replies.departure import SentAway
from chatsvc.replies.parts_reader import PartItem, PartsReader, units_at_once
from chatsvc.replies.producers import Observer
from chatsvc.replies.reader import ReplyReader
from chatsvc.replies.replies import Replies
from chatsvc.replies.reply import Reply

__all__ = [
    "Observer",
    "PartItem",
    "PartsReader",
    "Replies",
    "Reply",
    "ReplyReader",
    "SentAway",
    "units_at_once",
]
