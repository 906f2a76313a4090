"""Signed tokens: each is good for what it was signed for, and nothing else is."""

from __future__ import annotations

import hashlib
import string
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.users.signatures import TOKEN_CHARACTERS, Purpose, Signer, Token

ALICE, BOB = (hashlib.sha256(name).hexdigest() for name in (b"alice", b"bob"))
BOTH = Signer([ALICE, BOB])
TIMES = st.integers(0, 2**48 - 1)


def token(purpose: Purpose = Purpose.SESSION, key: str = ALICE) -> str:
    return BOTH.sign(purpose, key, issued_s=1, expires_s=2)


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@given(st.sampled_from(Purpose), st.sampled_from([ALICE, BOB]), TIMES, TIMES)
def test_a_token_says_what_it_was_signed_with(
    purpose: Purpose, key: str, issued_s: int, expires_s: int
) -> None:
    text = BOTH.sign(purpose, key, issued_s=issued_s, expires_s=expires_s)
    found = BOTH.verify(purpose, text)
    assert found is not None
    assert found == Token(key, issued_s, expires_s, found.id)
    assert len(text) == TOKEN_CHARACTERS
    # Another process that has the key knows it, whichever others it has; one that has not, doesn't.
    assert Signer([key]).verify(purpose, text) == found
    assert Signer({ALICE, BOB} - {key}).verify(purpose, text) is None
    assert Signer([]).verify(purpose, text) is None


@given(st.sampled_from(Purpose), st.sampled_from(Purpose))
def test_a_token_is_good_for_its_own_purpose_alone(a: Purpose, b: Purpose) -> None:
    assert (BOTH.verify(b, token(a)) is not None) == (a == b)


def test_a_purpose_that_is_written_over_is_not_signed() -> None:
    data = decoded(token(Purpose.TICKET))
    data = data[:1] + Purpose.SESSION.value + data[2:]
    forged = urlsafe_b64encode(data).rstrip(b"=").decode()
    assert BOTH.verify(Purpose.SESSION, forged) is None


def test_no_two_tokens_are_the_same() -> None:
    found = [BOTH.verify(Purpose.SESSION, token()) for _ in range(100)]
    assert len({each.id for each in found if each is not None}) == 100


@given(st.data())
def test_no_altered_bit_is_verified(data: st.DataObject) -> None:
    raw = bytearray(decoded(token()))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    text = urlsafe_b64encode(raw).rstrip(b"=").decode()
    assert BOTH.verify(Purpose.SESSION, text) is None


@given(
    st.integers(0, TOKEN_CHARACTERS - 1),
    st.sampled_from(string.ascii_letters + string.digits + "-_+/=. \n%\u00e9"),
)
def test_no_altered_character_is_verified(at: int, character: str) -> None:
    text = token()
    altered = text[:at] + character + text[at + 1 :]
    assert (BOTH.verify(Purpose.SESSION, altered) is None) == (altered != text)


def test_of_each_token_there_is_one_text() -> None:
    text = token()
    # The last character stands for two bits and has room for six.
    for character in set(string.ascii_letters + string.digits + "-_=") - {text[-1]}:
        assert BOTH.verify(Purpose.SESSION, text[:-1] + character) is None


@given(st.integers(0, TOKEN_CHARACTERS), st.text(max_size=4))
def test_no_longer_or_shorter_text_is_verified(at: int, more: str) -> None:
    text = token()
    for altered in (text[:at] + more + text[at:], text[:at], text[at:], more):
        if altered != text:
            assert BOTH.verify(Purpose.SESSION, altered) is None


@given(st.text(st.characters(), min_size=TOKEN_CHARACTERS, max_size=TOKEN_CHARACTERS))
def test_any_text_can_be_asked_for(text: str) -> None:
    assert BOTH.verify(Purpose.SESSION, text) is None


@pytest.mark.parametrize("purpose", Purpose)
def test_a_token_shows_nothing_of_the_digest(purpose: Purpose) -> None:
    data = decoded(token(purpose))
    digest = bytes.fromhex(ALICE)
    pieces = {digest[at : at + 4] for at in range(len(digest) - 3)}
    assert not any(piece in data for piece in pieces)


def test_only_a_known_key_signs() -> None:
    with pytest.raises(KeyError):
        Signer([ALICE]).sign(Purpose.SESSION, BOB, issued_s=0, expires_s=0)
    with pytest.raises(ValueError, match="hexadecimal"):
        Signer(["no digest"])
