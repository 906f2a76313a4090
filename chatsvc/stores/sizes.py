"""How much memory a reply's record takes, as the budget of a process counts it."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from chatsvc.model import Prompt
from chatsvc.stores.base import Record

RECORD_BYTES = 1536
"""Bytes of memory that a reply takes beside its text: its log, its record and their names."""

_NO_PROMPT = Prompt(())


QUOTE_BYTES = 64
"""Bytes of memory for each quotation mark of a prompt's JSON: a name or a text takes some 130."""

COMMA_BYTES = 32
"""Bytes of memory for each comma of a prompt's JSON: an element of a list, as a number."""


def prompt_bytes(record: Record) -> int:
    """Return about how many bytes of memory a record's prompt takes: as JSON and as objects.

    A conversation of many short messages takes ten times as much as its JSON, one of long texts
    hardly more. Punctuation inside the texts of messages is left out.
    """
    prompt = record.prompt
    if not prompt.messages:
        return 0
    encoded = msgspec.json.encode(prompt)
    quotes, commas = encoded.count(b'"'), encoded.count(b",")
    for message in prompt.messages:
        quotes -= message.content.count('"')
        commas -= message.content.count(",")
    return len(encoded) + quotes * QUOTE_BYTES + commas * COMMA_BYTES


def record_bytes(record: Record) -> int:
    """Return the bytes that a record counts for beside its prompt."""
    headers = record.context.headers
    size = RECORD_BYTES + len(record.note)
    return size + sum(map(len, headers.values())) if headers else size


def without_prompt(record: Record) -> Record:
    """Return a record as it is when its reply has ended and nothing needs the prompt any more."""
    return replace(record, prompt=_NO_PROMPT) if record.prompt.messages else record
