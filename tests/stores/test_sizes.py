"""How much memory a reply's record counts for."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest

from chatsvc.kept_prompt import keep
from chatsvc.model import Context, Message, Prompt
from chatsvc.stores import Record
from chatsvc.stores.sizes import (
    RECORD_BYTES,
    prompt_bytes,
    record_bytes,
)

CONVERSATIONS = {
    "long": [{"role": "user", "content": "x" * 30_000}] * 5,
    "short": [{"role": "user", "content": f"hello {n}"} for n in range(3000)],
    "parts": [
        {
            "role": "user",
            "content": "",
            "members": {"content": [{"type": "text", "text": f"a {n}"}] * 3},
        }
        for n in range(1000)
    ],
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_prompt_counts_for_about_what_it_takes(name: str) -> None:
    data = msgspec.json.encode({"messages": CONVERSATIONS[name]})
    tracemalloc.start()
    try:
        prompt = msgspec.json.decode(data, type=Prompt)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    counted = prompt_bytes(Record("r", keep(prompt)))
    assert len(data) <= counted
    assert taken * 0.8 < counted < taken * 4 + 2048


def test_of_an_ended_reply_the_question_counts() -> None:
    messages = Message("user", "x"), Message("assistant", "y" * 5000)
    record = Record("r", keep(Prompt(messages)))
    record.prompt.drop()
    assert 0 < record.prompt.size < 100


def test_what_came_with_the_request_counts_while_the_reply_is_kept() -> None:
    plain = record_bytes(Record("r", keep(Prompt(()))))
    context = Context(headers={"X-Tenant": "t" * 500})
    noted = Record("r", keep(Prompt(())), context=context, note="n" * 100)
    assert (plain, record_bytes(noted)) == (RECORD_BYTES, RECORD_BYTES + 600)
