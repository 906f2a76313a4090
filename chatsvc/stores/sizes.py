"""How much memory a reply's record takes, as the budget of a process counts it."""

from __future__ import annotations

from chatsvc.log import Log
from chatsvc.stores.base import Record

RECORD_BYTES = 1536
"""Bytes of memory that a reply takes beside its text: its log, its record and their names."""

QUOTE_BYTES = 64
"""Bytes of memory for each quotation mark of a prompt's JSON: a name or a text takes some 130."""


def prompt_bytes(record: Record) -> int:
    """Return about how many bytes of memory a record's prompt takes: as JSON and as objects.

    The backend has it as objects. A conversation of many short messages takes ten times as much as
    its JSON, one of long texts hardly more. A long list of numbers counts for less than it takes,
    and quotation marks in a text for more: to tell them apart would take ten times as long.
    """
    return record.prompt.size + record.prompt.json.count(b'"') * QUOTE_BYTES


def record_bytes(record: Record) -> int:
    """Return the bytes that a record counts for beside its prompt."""
    headers = record.context.headers
    size = RECORD_BYTES + len(record.note)
    if record.trace:
        size += sum(map(len, record.trace.values()))
    return size + sum(map(len, headers.values())) if headers else size


def log_bytes(log: Log) -> int:
    """Return about how many bytes of memory a log's text and side units take."""
    # A code point beyond ASCII takes at most twice its UTF-8, with the ends of characters.
    size = log.size if log.size == log.position else 2 * log.size
    return size if log.side is None else size + log.side.held_bytes()
