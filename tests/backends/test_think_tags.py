"""Reasoning within the text, however that is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.backends.think_tags import ThinkTags
from chatsvc.model import Reasoning


def split(*texts: str) -> tuple[str, str]:
    """Return the reasoning and the answer of a text that comes in pieces."""
    tags = ThinkTags()
    found = [piece for text in texts for piece in tags.feed(text)] + tags.end()
    answer = "".join(piece for piece in found if isinstance(piece, str))
    reasoning = "".join(p.text for p in found if isinstance(p, Reasoning))
    if answer:
        whole = "".join(texts)
        assert whole[tags.removed :] == answer
    return reasoning, answer


CASES = [
    ("<think>hm</think>Hi", "hm", "Hi"),
    (" \n<think>\nhm\n</think>\n\nHi \n", "\nhm\n", "Hi \n"),
    ("<think></think>Hi", "", "Hi"),
    ("Let me see.</think>\n\nHi", "Let me see.", "Hi"),
    ("</think>Hi", "", "Hi"),
    ("Hi", "", "Hi"),
    (" \n", "", " \n"),
    ("", "", ""),
    ("<thin", "", "<thin"),
    ("<think", "", "<think"),
    ("<think>", "", ""),
    ("<think>hm", "hm", ""),
    ("<think>hm</thin", "hm</thin", ""),
    ("<think>a<think>b</think>c</think>d", "a<think>b", "c</think>d"),
    ("<think>a</</think>b", "a</", "b"),
    ("a <think>b</think>c", "a <think>b", "c"),
    ("<think>hm</think> \n", "hm", ""),
    ("<think>好</think>你", "好", "你"),
]


@pytest.mark.parametrize(("text", "reasoning", "answer"), CASES)
def test_a_text(text: str, reasoning: str, answer: str) -> None:
    assert split(text) == (reasoning, answer)
    assert split(*text) == (reasoning, answer)
    for cut in range(len(text)):
        assert split(text[:cut], text[cut:]) == (reasoning, answer)


@given(st.lists(st.sampled_from(["<think>", "</think>", "<", "/", "th", "a", " "])))
def test_the_cuts_change_nothing(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert split(*pieces) == split(text) == split(*text)


def test_nothing_is_passed_on_while_it_is_undecided() -> None:
    tags = ThinkTags()
    assert tags.feed("a") == [] and tags.undecided
    assert tags.decide() == ["a"] and not tags.undecided
    assert tags.feed("b</think>") == ["b</think>"]
    assert tags.decide() == tags.end() == []


def test_reasoning_is_passed_on_as_it_comes() -> None:
    tags = ThinkTags()
    assert tags.feed(" <think>a") == [Reasoning("a")]
    assert tags.feed("b<") == [Reasoning("b")]
    assert tags.feed("c") == [Reasoning("<c")]
    assert tags.feed("</think>") == []
    assert tags.feed("\n") == []
    assert tags.feed("Hi") == ["Hi"]
