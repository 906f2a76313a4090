"""The frames of a WebSocket's client are masked, however they are cut (RFC 6455 section 5)."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from chatsvc.transports.masks import MaskCheck


class Inner(asyncio.Protocol):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.got = b""

    def data_received(self, data: bytes) -> None:
        self.got += data


def frame(size: int, masked: bool = True) -> bytes:
    """A text frame whose payload would make good heads of frames that are not masked."""
    mask = 0x80 if masked else 0
    if size < 126:
        head = bytes([0x81, mask | size])
    elif size < 1 << 16:
        head = bytes([0x81, mask | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x81, mask | 127]) + size.to_bytes(8, "big")
    return head + bytes(4 if masked else 0) + b"\x81\x01"[:1] * size


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Data, cut at some places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in pairwise(places)]


sizes = st.lists(
    st.sampled_from([0, 1, 2, 13, 14, 125, 126, 127, 300, 65535, 65536]), max_size=6
)
cuts = st.lists(st.integers(0, 1 << 20), max_size=30)


@given(sizes, cuts)
@example([0, 126, 65536], list(range(40)))
def test_masked_frames_pass_as_they_are(sizes: list[int], cuts: list[int]) -> None:
    refused: list[bool] = []
    inner = Inner()
    check = MaskCheck(inner, lambda: refused.append(True))
    data = b"".join(map(frame, sizes))
    for piece in pieces(data, cuts):
        check.data_received(piece)
    assert (inner.got, refused) == (data, [])


@given(sizes, st.integers(0, 300), cuts)
@example([5], 1, list(range(40)))
def test_a_frame_without_a_mask_ends_it_once(
    sizes: list[int], size: int, cuts: list[int]
) -> None:
    refused: list[bool] = []
    inner = Inner()
    check = MaskCheck(inner, lambda: refused.append(True))
    good = b"".join(map(frame, sizes))
    bad = frame(size, masked=False)
    for piece in pieces(good + bad + bad + frame(3), cuts):
        check.data_received(piece)
    assert refused == [True]
    assert good.startswith(inner.got[: len(good)])
    assert len(inner.got) <= len(good) + 1  # the first byte of a head says nothing yet
