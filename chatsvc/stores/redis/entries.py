"""The fields of what stands in Redis: a reply's hash, its stream, and the news.

`keys` says under which names they stand. The scripts in `scripts/*.lua` write them, and use the
same names of fields; this module spells them for Python.

A reply's hash:

    r   the `Record`, as JSON
    o   the node that owns the reply
    e   the epoch: 1, and one more each time the owner changes
    p   the position (code points) up to which text is in the stream
    at  when the reply was created (microseconds of the owner's clock)
    c   there when the text is complete
    x   there when the reply has its end

An entry of a reply's stream holds one of the following; text may come together with `c`.

    p t   text `t` that begins after position `p`
    c     the text is complete, and this `End` (JSON) will follow when it is released
    p e   the `End` (JSON), after the text up to position `p`

An entry of the news, a stream that all replies of a hash tag share:

    n r     the entry's number, one more than the last one's; the id of a reply that has its end
    n r o   the same; but the reply has a new owner, since the epoch `o`

The id of an entry begins with the milliseconds at which it was added, by the clock of Redis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.stores.base import Record

LEEWAY_US = 400_000
"""Microseconds for which a node goes on releasing text after its last look at Redis. As many pass
from the arrival of a stop to the time at which it cuts the reply (see `followers`)."""

POSITION, TEXT, PLANNED_END, END = "p", "t", "c", "e"
"""The fields of an entry of a reply's stream."""

HASH_FIELDS = ("r", "p", "x")
"""The fields of a reply's hash that `decode_hash` takes, in this order."""

Fields = dict[str, str]
"""The names and values of an entry's fields, as redis-py takes and returns them."""


class ReplyHash(NamedTuple):
    """The part of a reply's hash that its readers need; `position` is its `p`."""

    record: Record
    position: int
    ended: bool


class ReplyEntry(msgspec.Struct, frozen=True):
    """An entry of a reply's stream.

    `text` begins after `position`; of an entry with an `end`, `position` is that of all text before
    it. It is 0 where it has no meaning.
    """

    position: int = 0
    text: str = ""
    planned_end: End | None = None
    end: End | None = None


class News(NamedTuple):
    """An entry of the news: a reply has its end, or, with an `epoch`, another owner since then."""

    number: int
    reply_id: str
    epoch: int | None


def encode_record(record: Record) -> str:
    """Return the value of the field `r`."""
    return msgspec.json.encode(record).decode()


def decode_hash(values: Sequence[str | None]) -> ReplyHash | None:
    """Return what the `HASH_FIELDS` say, or None when there is no such hash."""
    record, position, ended = values
    if record is None:
        return None
    return ReplyHash(
        msgspec.json.decode(record, type=Record), int(position or 0), bool(ended)
    )


def encode(entry: ReplyEntry) -> Fields:
    """Return the fields of an entry of a reply's stream."""
    fields: Fields = {}
    if entry.text or entry.end is not None:
        fields[POSITION] = str(entry.position)
    if entry.text:
        fields[TEXT] = entry.text
    if entry.planned_end is not None:
        fields[PLANNED_END] = msgspec.json.encode(entry.planned_end).decode()
    if entry.end is not None:
        fields[END] = msgspec.json.encode(entry.end).decode()
    return fields


def decode(fields: Fields) -> ReplyEntry:
    """Return the entry of a reply's stream that has these fields."""
    planned_end, end = fields.get(PLANNED_END), fields.get(END)
    return ReplyEntry(
        int(fields.get(POSITION, 0)),
        fields.get(TEXT, ""),
        None if planned_end is None else msgspec.json.decode(planned_end, type=End),
        None if end is None else msgspec.json.decode(end, type=End),
    )


def decode_news(fields: Fields) -> News:
    """Return the entry of the news that has these fields."""
    epoch = fields.get("o")
    return News(int(fields["n"]), fields["r"], None if epoch is None else int(epoch))


def arrival_us(entry_id: str) -> int:
    """Return when an entry was added (microseconds of the store's clock)."""
    return int(entry_id.partition("-")[0]) * 1000


def apply(log: Log, entry_id: str, entry: ReplyEntry) -> bool:
    """Bring an entry of its stream into a log, as far as it is new.

    Returns False, and changes nothing, when it does not fit what the log has: text is missing
    before it, or its text is another than the log's at that position.
    """
    if log.end is not None:
        return True
    arrived_us = arrival_us(entry_id)
    begin, text = entry.position, entry.text
    if text:
        known = log.position - begin
        # After a failover, text that the old master had acknowledged and its replica never got is
        # written once more: then the log has it, or a part of it.
        if known < 0 or not text.startswith(log.text(begin, begin + len(text))):
            return False
        log.append(text[known:], arrived_us)
    if entry.planned_end is not None:
        log.seal(entry.planned_end)
    if entry.end is not None:
        if log.position < begin:
            return False
        stopped = entry.end.state == "stopped"
        log.finish(entry.end, arrived_us + LEEWAY_US if stopped else arrived_us)
    return True
