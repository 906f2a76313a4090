"""Signed tokens: texts that prove who their holder is, to every process that knows the API keys.

A token names the API key that it rests on, its purpose, when it was issued and when it expires, and
has random bytes of its own. It is signed by HMAC-SHA256 (RFC 2104) with a key that is derived from
the API key's SHA-256 digest by HKDF-Expand (RFC 5869 section 2.3). So nothing is kept for it
anywhere: whoever has the list of keys verifies it, and it ends with the API key.

In binary a token is the version, the purpose, the name of the key (8 bytes), the two times (Unix
seconds, 6 bytes each, big-endian), 16 random bytes and the signature of all these (32 bytes);
outside it is base64url without padding (RFC 4648 section 5), 94 characters.

Invariants:
- A token tells nobody the digest of its API key: the name of the key is derived from the digest, as
  the signing keys are.
- Each purpose has a signing key of its own, so no token is good for another purpose.
- Of each token there is one text: what decodes to the same bytes in another way is none.
"""

from __future__ import annotations

import binascii
import enum
import hmac
import secrets
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable

import msgspec

_VERSION = b"\x01"
_NAME_BYTES = 8
_TIME_BYTES = 6
_RANDOM_BYTES = 16
_SIGNATURE_BYTES = 32
# The version with the purpose, the name of the key, the two times and the random bytes.
_fields = struct.Struct(f"2s{_NAME_BYTES}s{_TIME_BYTES}s{_TIME_BYTES}s{_RANDOM_BYTES}s")
_TOKEN_BYTES = _fields.size + _SIGNATURE_BYTES

TOKEN_CHARACTERS = -(-_TOKEN_BYTES * 4 // 3)
"""The characters that every token has."""


class Purpose(enum.Enum):
    """What a token is good for; the value is its byte in the token."""

    SESSION = b"s"
    TICKET = b"t"


class Token(msgspec.Struct, frozen=True):
    """What a verified token says.

    `key` is the SHA-256 digest of the API key that it rests on (hexadecimal digits), `issued_s` and
    `expires_s` are Unix seconds, and `id` is random, so that no two tokens have the same
    (hexadecimal digits). Whether it has expired is for the caller to see.
    """

    key: str
    issued_s: int
    expires_s: int
    id: str


class Signer:
    """The signing keys of some API keys, each given by its SHA-256 digest (hexadecimal digits).

    Raises `ValueError` for a digest that is none.
    """

    def __init__(self, digests: Iterable[str]) -> None:
        self._digests = {_name_of(digest): digest for digest in digests}
        self._secrets = {
            (digest, purpose): _derive(digest, b"sign " + purpose.value)
            for digest in self._digests.values()
            for purpose in Purpose
        }

    def sign(
        self, purpose: Purpose, digest: str, *, issued_s: int, expires_s: int
    ) -> str:
        """Return a new token that rests on the API key with a digest.

        Raises `KeyError` when this is none of the API keys.
        """
        secret = self._secrets[digest, purpose]
        signed = _fields.pack(
            _VERSION + purpose.value,
            _name_of(digest),
            issued_s.to_bytes(_TIME_BYTES),
            expires_s.to_bytes(_TIME_BYTES),
            secrets.token_bytes(_RANDOM_BYTES),
        )
        signature = hmac.digest(secret, signed, "sha256")
        return urlsafe_b64encode(signed + signature).rstrip(b"=").decode()

    def verify(self, purpose: Purpose, text: str) -> Token | None:
        """Return what a token says, or None unless one of the keys has signed it for this purpose.

        The time that this takes does not depend on how much of the signature is right.
        """
        data = _decode(text)
        if data is None:
            return None
        signed, signature = data[: _fields.size], data[_fields.size :]
        kind, name, issued, expires, random = _fields.unpack(signed)
        digest = self._digests.get(name)
        if digest is None or kind != _VERSION + purpose.value:
            return None
        expected = hmac.digest(self._secrets[digest, purpose], signed, "sha256")
        if not hmac.compare_digest(expected, signature):
            return None
        return Token(
            key=digest,
            issued_s=int.from_bytes(issued),
            expires_s=int.from_bytes(expires),
            id=random.hex(),
        )


def _derive(digest: str, purpose: bytes) -> bytes:
    """Return 32 bytes that are derived from a digest for one purpose (RFC 5869 section 2.3)."""
    return hmac.digest(bytes.fromhex(digest), b"chatsvc " + purpose + b"\x01", "sha256")


def _name_of(digest: str) -> bytes:
    """Return the bytes by which tokens name the API key with a digest."""
    return _derive(digest, b"name")[:_NAME_BYTES]


def _decode(text: str) -> bytes | None:
    """Return the bytes of a token, or None for a text that is none."""
    if len(text) != TOKEN_CHARACTERS or not text.isascii():
        return None
    padding = "=" * (-TOKEN_CHARACTERS % 4)
    try:
        data = urlsafe_b64decode(text + padding)
    except binascii.Error:
        return None
    # The decoder passes over characters that it does not know, and over bits at the end.
    if urlsafe_b64encode(data).decode() != text + padding:
        return None
    return data
