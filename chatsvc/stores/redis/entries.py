"""The fields of what stands in Redis: a reply's hash, its stream, and the news.

`keys` says under which names they stand. The scripts in `scripts/*.lua` write them, and use the
same names of fields; this module spells them for Python.

A reply's hash:

    r   the `Record`, as JSON
    o   the node that owns the reply
    e   the epoch: 1, and one more each time the owner changes
    p   the position (code points) up to which text is in the stream
    s   the number of side units in the stream; not there without any
    h   the record's `context`, as JSON, with its `trace` as one more member, if it has one; not there
        if both hold nothing
    u   what the reply has used so far, OpenAI's usage object as JSON; not there while nothing is known
    n   the record's `note`; not there if it is empty
    a   the digest of the account that the reply is counted for (see `limits`); not there without
        one
    q   what is to stand in `r` from the end on: the `Record` with the question alone of its prompt;
        empty once it stands there, and not there in what nodes of older versions have created
    at  when the reply was created (microseconds of the owner's clock)
    c   there when the text is complete
    x   there when the reply has its end

An entry of a reply's stream holds one of the following; text or side units may come together with
`c`. Entries stand in the order of the reply's units.

    p t   text `t` that begins after position `p`
    p s   the side units `s` (JSON, see `chatsvc.units`), which stand at position `p`
    c     the text is complete, and this `End` (JSON) will follow when it is released
    p e   the `End` (JSON), after the text up to position `p`

    b     in any of them, the number of side units before it; not there if it is 0

An entry of the news, a stream that all replies of a hash tag share:

    n r     the entry's number, one more than the last one's; the id of a reply that has its end
    n r o   the same; but the reply has a new owner, since the epoch `o`

The id of an entry begins with the milliseconds at which it was added, by the clock of Redis.

Nodes of different versions share a Redis while they are replaced. Those without side units read past
them: they write text without `b` and don't touch `s`. What a node does not know in an entry, or does
not find, changes nothing but itself: an end without `p` is an end, an end that can't be read is a
failure. Nodes that don't know `q` find in `r` what they expect, and leave the whole prompt there
when they set an end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.problems import InternalError
from chatsvc.stores.base import Record
from chatsvc.stores.redis.records import decode_record
from chatsvc.units import (
    Unit,
    count_all,
    decode_units,
    encode_units,
    joined,
    split,
)

LEEWAY_US = 400_000
"""Microseconds for which a node goes on releasing text after its last look at Redis. As many pass
from the arrival of a stop to the time at which it cuts the reply (see `followers`)."""

POSITION, TEXT, PLANNED_END, END = "p", "t", "c", "e"
UNITS, SIDES = "s", "b"
"""The fields of an entry of a reply's stream."""

HASH_FIELDS = ("r", "p", "x", "s")
"""The fields of a reply's hash that `decode_hash` takes, in this order."""

Fields = dict[str, str]
"""The names and values of an entry's fields, as redis-py takes and returns them."""


class ReplyHash(NamedTuple):
    """The part of a reply's hash that its readers need; `position` is its `p`, `sides` its `s`."""

    record: Record
    position: int
    ended: bool
    sides: int = 0


class ReplyEntry(msgspec.Struct, frozen=True):
    """An entry of a reply's stream.

    `text` begins after `position`, `units` stand there; of an entry with an `end`, `position` is that
    of all text before it. It is 0 where it has no meaning. `sides` is the number of side units before
    the entry, or None where it is not known or 0.
    """

    position: int = 0
    text: str = ""
    planned_end: End | None = None
    end: End | None = None
    units: tuple[Unit, ...] = ()
    sides: int | None = None


class News(NamedTuple):
    """An entry of the news: a reply has its end, or, with an `epoch`, another owner since then."""

    number: int
    reply_id: str
    epoch: int | None


def decode_hash(values: Sequence[str | None]) -> ReplyHash | None:
    """Return what the `HASH_FIELDS` say, or None when there is no such hash."""
    record, position, ended, sides = values
    if record is None:
        return None
    return ReplyHash(
        decode_record(record),
        _number(position),
        bool(ended),
        _number(sides),
    )


def encode(entry: ReplyEntry) -> Fields:
    """Return the fields of an entry of a reply's stream."""
    words = encode_words(entry)
    return dict(zip(words[::2], words[1::2], strict=True))


def encode_words(entry: ReplyEntry) -> list[str]:
    """Return the fields of an entry of a reply's stream, each name with its value behind it."""
    words: list[str] = []
    if entry.text or entry.units or entry.end is not None:
        words += (POSITION, str(entry.position))
    if entry.text:
        words += (TEXT, entry.text)
    if entry.units:
        words += (UNITS, encode_units(entry.units))
    if entry.sides:
        words += (SIDES, str(entry.sides))
    if entry.planned_end is not None:
        words += (PLANNED_END, encode_planned_end(entry.planned_end))
    if entry.end is not None:
        words += (END, msgspec.json.encode(entry.end).decode())
    return words


def encode_planned_end(planned_end: End | None) -> str:
    """Return the value of the field `c` of an entry, or "" for None."""
    return "" if planned_end is None else msgspec.json.encode(planned_end).decode()


def entries_of(
    runs: Sequence[str | tuple[Unit, ...]], position: int, sides: int
) -> tuple[list[ReplyEntry], tuple[int, int]]:
    """Return an entry for each run of text or side units, and the position and side units behind.

    The first begins after `position` and `sides` side units.
    """
    entries = []
    for run in runs:
        if isinstance(run, str):
            entries.append(ReplyEntry(position, run, sides=sides or None))
            position += len(run)
        else:
            entries.append(ReplyEntry(position, units=run, sides=sides or None))
            sides += count_all(run)
    return entries, (position, sides)


def decode(fields: Fields) -> ReplyEntry:
    """Return the entry of a reply's stream that has these fields, whatever node wrote them."""
    planned_end, end, units = map(fields.get, (PLANNED_END, END, UNITS))
    return ReplyEntry(
        _number(fields.get(POSITION)),
        fields.get(TEXT, ""),
        None if planned_end is None else decode_end(planned_end),
        None if end is None else decode_end(end),
        () if units is None else decode_units(units),
        _number(fields.get(SIDES)) or None,
    )


def encode_usage(usage: dict[str, Any] | None) -> str:
    """Return the value of the field `u`, or "" for None."""
    return "" if usage is None else msgspec.json.encode(usage).decode()


def encode_end(end: End) -> tuple[str, str]:
    """Return an end as JSON without its `usage`, and that as JSON, or "" if there is none.

    `finish.lua` joins the two as `encode` would, or the first and the usage that was written last.
    """
    members = msgspec.structs.asdict(end)
    usage = encode_usage(members.pop("usage"))
    return msgspec.json.encode(members).decode(), usage


def decode_end(text: str) -> End:
    """Return the end that a field holds; one that can't be read is a failure."""
    try:
        return msgspec.json.decode(text, type=End)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        problem = InternalError("The reply's end can't be read here.")
        return End("failed", "error", problem.as_dict())


def decode_news(fields: Fields) -> News:
    """Return the entry of the news that has these fields."""
    epoch = fields.get("o")
    return News(
        _number(fields.get("n")),
        fields.get("r", ""),
        None if epoch is None else _number(epoch),
    )


def _number(text: str | None) -> int:
    """Return the number that a field holds, or 0 if there is none."""
    return int(text) if text and text.isascii() and text.isdecimal() else 0


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
    sides = log.offset - log.position
    before = sides if entry.sides is None and not entry.units else entry.sides or 0
    if before > sides:
        return False
    # After a failover, what the old master had acknowledged and its replica never got is written once
    # more: then the log has it, or a part of it.
    if text:
        known = log.position - begin
        if known and (
            known < 0 or not text.startswith(log.text(begin, begin + len(text)))
        ):
            return False
        if known < len(text) and before < sides:
            return False
        log.append(text[known:], arrived_us)
    if entry.units:
        known_units, new_units = split(entry.units, sides - before)
        if joined(known_units) != _side_units(log, before, count_all(known_units)):
            return False
        if new_units:
            if log.position != begin:
                return False
            log.append_side(new_units)
    if entry.planned_end is not None:
        log.seal(entry.planned_end)
    if entry.end is not None:
        if log.position < begin:
            return False
        stopped = entry.end.state == "stopped"
        log.finish(entry.end, arrived_us + LEEWAY_US if stopped else arrived_us)
    return True


def _side_units(log: Log, after: int, count: int) -> list[Unit]:
    """Return `count` of a log's side units, behind the first `after`."""
    return [] if log.side is None else joined(log.side.sides(after, after + count))
