"""How much memory a reply's record takes, as the budget of a process counts it."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from chatsvc.model import Prompt
from chatsvc.stores.base import Record

RECORD_BYTES = 1536
"""Bytes of memory that a reply takes beside its text: its log, its record and their names."""

_NO_PROMPT = Prompt(())


def prompt_bytes(record: Record) -> int:
    """Return the bytes that a record's prompt counts for: those of its JSON."""
    prompt = record.prompt
    return len(msgspec.json.encode(prompt)) if prompt.messages else 0


def record_bytes(record: Record) -> int:
    """Return the bytes that a record counts for beside its prompt."""
    headers = record.context.headers
    size = RECORD_BYTES + len(record.note)
    return size + sum(map(len, headers.values())) if headers else size


def without_prompt(record: Record) -> Record:
    """Return a record as it is when its reply has ended and nothing needs the prompt any more."""
    return replace(record, prompt=_NO_PROMPT) if record.prompt.messages else record
