"""API keys by their hashes, and those of `CHATSVC_API_KEYS`."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.settings import BadSetting
from chatsvc.users.keys import (
    LEAST_KEY_CHARACTERS,
    ApiKey,
    KeyRing,
    digest_of,
    plain_keys,
)

VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
PLAIN = st.text(VISIBLE, min_size=LEAST_KEY_CHARACTERS, max_size=80)
SPACE = st.text(st.sampled_from(" \t\n"), min_size=1, max_size=3)


@given(st.lists(PLAIN, unique=True, max_size=5), SPACE)
def test_each_plain_key_finds_its_user_and_no_other_text_does(
    tokens: list[str], space: str
) -> None:
    ring = KeyRing(plain_keys(space.join(tokens)))
    assert len(ring) == len(tokens)
    for token in tokens:
        digest = hashlib.sha256(token.encode()).hexdigest()
        key = ring.find(token)
        assert key == ApiKey(f"key-{digest[:8]}", digest)
        assert ring.by_digest(digest) is key
        for other in (f"{token} ", token[:-1], token.swapcase() + "x", digest, ""):
            assert other in tokens or ring.find(other) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("short", "key 1 is none"),
        (f"{'a' * 16} {'b' * 15}", "key 2 is none"),
        ("schlüssel-schlüssel", "key 1 is none"),
        ("a" * 16 + "\x00", "key 1 is none"),
        (f"{'a' * 16} {'a' * 16}", "key 2 is there twice"),
    ],
)
def test_a_bad_plain_key_is_refused_without_being_shown(text: str, said: str) -> None:
    with pytest.raises(BadSetting) as refused:
        plain_keys(text)
    line = str(refused.value)
    assert line.startswith("CHATSVC_API_KEYS takes ")
    assert line.endswith(said)
    assert not any(token in line for token in text.split())


def test_a_key_as_it_came_over_the_wire_need_not_be_utf_8() -> None:
    assert digest_of("\udcff") == hashlib.sha256(b"\xff").hexdigest()


def test_a_ring_holds_each_key_once_and_shows_none() -> None:
    key = ApiKey("alice", "0" * 64)
    with pytest.raises(ValueError, match="'alice' and one of 'bob' are the same"):
        KeyRing((key, ApiKey("bob", "0" * 64)))
    assert repr(KeyRing([key])) == "<KeyRing of 1 keys>"


def test_users_are_those_with_a_key_to_chat_with() -> None:
    ring = KeyRing(
        [
            ApiKey("alice", "0" * 64),
            ApiKey("alice", "1" * 64),
            ApiKey("eve", "2" * 64, frozenset({"admin"})),
        ]
    )
    assert ring.users() == {"alice"}
