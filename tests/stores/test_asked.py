"""All that was asked stands in Redis with the reply, for the node that answers it in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from chatsvc.cursor import new_reply_id
from chatsvc.kept_prompt import keep
from chatsvc.model import ABILITIES, Piece, Prompt
from chatsvc.requests.content import request_limits
from chatsvc.requests.conversation import read_conversation
from chatsvc.stores.base import Record
from chatsvc.stores.redis.entries import decode_hash
from chatsvc.stores.redis.records import encode_record
from tests.messages import IMAGE

from .services import Scripted, Service, arrived, die, ended

MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE]},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "x": [None]}]},
    {"role": "tool", "tool_call_id": "1", "content": "a cat", "unknown": 2**70},
    {"role": "assistant", "tool_calls": [{"id": "2"}]},
]
OPTIONS = {"tools": [{"type": "function"}], "response_format": {"type": "x"}}
LIMITS = request_limits(1000, 1000, takes=ABILITIES, models=())
PROMPT = read_conversation(MESSAGES, LIMITS, OPTIONS)


class Noting(Scripted):
    """It can carry on, notes how it was asked, and says nothing until `go` is set."""

    pace = 0.0
    resumes = True

    def __init__(self, go: bool) -> None:
        super().__init__()
        self.close_now.set()
        self.go = asyncio.Event()
        if go:
            self.go.set()
        self.asked: list[Prompt] = []

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """A word, once it may."""
        self.asked.append(prompt)
        await self.go.wait()
        yield "done"[len(prompt.written) :]


@pytest.mark.parametrize("written", ["", "do"])
async def test_who_takes_a_reply_over_asks_the_same(
    service: Service, written: str
) -> None:
    class Begun(Noting):
        async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
            if written and not prompt.written:
                yield f"{written}n"
            async for piece in super().stream(prompt):
                yield piece

    first, second = Begun(go=False), Noting(go=True)
    owner, other = await service(first), await service(second)
    reply = await owner.start(PROMPT)
    elsewhere = await other.open(reply.id)
    if written:
        await arrived(other, elsewhere, len(written))
    await die(owner)
    text, end = await ended(elsewhere)
    assert (text, end.state) == ("done", "done")
    [asked] = second.asked
    assert [message.as_dict() for message in asked.messages] == MESSAGES
    assert asked.options == OPTIONS


def test_a_record_is_read_as_it_was_written() -> None:
    record = Record(new_reply_id(), keep(PROMPT))
    found = decode_hash([encode_record(record), "0", None, None])
    assert found is not None and found.record == record
