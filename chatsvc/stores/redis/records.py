"""The record of a reply as it stands in the reply's hash in Redis.

Its fields are `r`, `q`, `h` and `n`; `entries` says what stands in each, and in the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import msgspec
from msgspec.structs import asdict, replace

from chatsvc.kept_prompt import KeptPrompt
from chatsvc.model import Context
from chatsvc.stores.base import Record

LATER_FIELDS = ("h", "n")
"""The fields of a reply's hash that `with_later_fields` takes, in this order."""


class _Trace(msgspec.Struct):
    """The member of the field `h` that is no context's: the record's `trace`, if it has one."""

    trace: dict[str, str] = {}


class _StoredRecord(msgspec.Struct):
    """The members of a `Record` that stand in `r`, with the prompt as it is written there."""

    reply_id: str
    prompt: msgspec.Raw
    user: str = ""
    key: str = ""
    digest: str = ""
    pace: int = 0
    lag: int | None = None


def encode_record(record: Record) -> str:
    """Return the value of the field `r`: the record without its `context`, `note` and `trace`."""
    return _encode(record, record.prompt.json)


def encode_ended_record(record: Record) -> str:
    """Return the value of the field `q`: that of `r`, with the question alone of the prompt."""
    return _encode(record, record.prompt.question_json)


def _encode(record: Record, prompt: bytes) -> str:
    stored = _StoredRecord(
        record.reply_id,
        msgspec.Raw(prompt),
        record.user,
        record.key,
        record.digest,
        record.pace,
        record.lag,
    )
    return msgspec.json.encode(stored).decode()


def decode_record(text: str) -> Record:
    """Return the record that the field `r` holds, without its `context` and `note`.

    Raises `msgspec.MsgspecError` for any other text.
    """
    stored = msgspec.json.decode(text, type=_StoredRecord)
    prompt = KeptPrompt(bytes(stored.prompt))  # a copy, without the rest of the text
    return Record(
        stored.reply_id,
        prompt,
        stored.user,
        stored.key,
        stored.digest,
        stored.pace,
        stored.lag,
    )


def encode_context(record: Record) -> str:
    """Return the value of the field `h`, or "" if there is to be none."""
    context, trace = record.context, record.trace
    if trace:
        return msgspec.json.encode({**asdict(context), "trace": trace}).decode()
    return "" if context == Context() else msgspec.json.encode(context).decode()


def with_later_fields(record: Record, values: Sequence[str | None]) -> Record:
    """Return a record with what the `LATER_FIELDS` hold, if anything: `context`, `trace`, `note`."""
    text, note = values
    if not (text or note):
        return record
    context, trace = record.context, record.trace
    # What was written in a way that is not known here is left out.
    with suppress(msgspec.MsgspecError, ValueError, RecursionError):
        context = msgspec.json.decode(text or "{}", type=Context)
        trace = msgspec.json.decode(text or "{}", type=_Trace).trace
    return replace(record, context=context, note=note or "", trace=trace)
