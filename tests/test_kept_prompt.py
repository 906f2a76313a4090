"""Prompts as they are kept: as JSON, and after the reply's end the question alone."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.kept_prompt import KeptPrompt, keep
from chatsvc.model import End, Message, Prompt
from chatsvc.stores.base import Record

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values: st.SearchStrategy[Any] = st.recursive(
    texts | st.integers(-(1 << 53), 1 << 53) | st.none() | st.booleans(),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(texts, each, max_size=3),
    max_leaves=5,
)
members = st.dictionaries(texts, values, max_size=2)
roles = st.sampled_from(["system", "user", "assistant", "tool"])
messages = st.builds(Message, roles, texts, members, st.booleans())
prompts = st.builds(Prompt, st.lists(messages, max_size=5).map(tuple), options=members)


def question_of(prompt: Prompt) -> str | None:
    asked = [each.content for each in prompt.messages if each.role == "user"]
    return asked[-1] if asked else None


@given(prompts)
def test_a_prompt_is_kept_whole_and_then_its_question(prompt: Prompt) -> None:
    kept, question = keep(prompt), question_of(prompt)
    assert kept.json == msgspec.json.encode(prompt)
    assert (kept.read(), kept.question) == (prompt, question)
    found = KeptPrompt(kept.json)  # as it comes out of a store
    for each in (kept, found):
        each.drop()
        left = () if question is None else (Message("user", question),)
        assert each.read() == Prompt(left)
        assert each.question == question
        each.drop()
        assert each.question == question
    assert kept == found


@given(prompts)
def test_its_size_is_that_of_its_bytes(prompt: Prompt) -> None:
    kept = keep(prompt)
    left = len(kept.question_json)
    alone = kept.json == kept.question_json
    assert kept.size == len(kept.json) + (0 if alone else left)
    kept.drop()
    assert kept.size == left == len(kept.json)


def test_a_prompt_of_one_message_is_kept_once() -> None:
    kept = keep(Prompt((Message("user", "x" * 100_000),)))
    assert kept.question_json is kept.json
    assert 100_000 < kept.size < 100_100


@pytest.mark.parametrize("json", [b"", b"[]", b'{"messages":[{}]}', b"[" * 5000])
def test_what_cannot_be_read_has_no_question(json: bytes) -> None:
    kept = KeptPrompt(json)
    assert kept.question is None
    kept.drop()
    assert kept.read() == Prompt(())


@pytest.mark.parametrize("end", [End("done", "stop"), End("stopped", "stopped")])
def test_the_end_of_a_log_drops_the_prompt(end: End) -> None:
    asked = Prompt((Message("system", "x" * 1000), Message("user", "你好")))
    record = Record("r" * 22, keep(asked))
    log = record.new_log()
    log.append("a", 0)
    assert record.prompt.read() == asked
    log.finish(end, 1)
    assert record.prompt.read() == Prompt((Message("user", "你好"),))


def test_nothing_of_it_is_shown() -> None:
    assert repr(keep(Prompt((Message("user", "secret"),)))).endswith("bytes>")
    with pytest.raises(TypeError, match="changes"):
        hash(keep(Prompt(())))


def test_the_values_are_not_kept() -> None:
    def many() -> KeptPrompt:
        return keep(Prompt((*(Message("user", f"hello {n}") for n in range(5000)),)))

    many()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = many()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < kept.size + 10_000
