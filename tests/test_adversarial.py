"""Time is linear in the length of text, whatever the text and on whatever way it goes."""

from __future__ import annotations

import pytest
import regex

from chatsvc.graphemes import Splitter
from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.segment import Segment, fitting

from .adversarial import CORPUS, SAMPLES, Generator
from .linear import Work, assert_linear

pytestmark = pytest.mark.sampled

corpus = pytest.mark.parametrize(
    "generate",
    [
        pytest.param(
            generate, id=name, marks=[pytest.mark.thorough] if name in SAMPLES else []
        )
        for name, generate in CORPUS.items()
    ],
)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_are_of_their_class(name: str) -> None:
    assert regex.fullmatch(rf"\p{{{name}}}+", SAMPLES[name])


@pytest.mark.parametrize("name", CORPUS)
def test_the_texts_are_as_long_as_they_should_be_and_always_the_same(name: str) -> None:
    for length in (0, 1, 255, 1000):
        text = CORPUS[name](length)
        assert len(text) == length
        assert text == CORPUS[name](length)


def pieces(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


def split(pieces: list[str]) -> list[str]:
    splitter = Splitter()
    return [run for run in [*map(splitter.feed, pieces), splitter.close()] if run]


def clean(text: str) -> str:
    return "".join(split(pieces(text, 1000)))


@corpus
@pytest.mark.parametrize("size", [1, 7, None])
def test_splitter(generate: Generator, size: int | None) -> None:
    def prepare(length: int) -> Work:
        parts = pieces(generate(length), size or length)
        return lambda: split(parts)

    assert_linear(prepare)


@corpus
@pytest.mark.parametrize(("pace", "lag", "size"), [(0, None, 1), (30_000, 500_000, 7)])
def test_log(generate: Generator, pace: int, lag: int | None, size: int) -> None:
    """From the first append, of so many characters each, with all that is merged, to the end."""

    def prepare(length: int) -> Work:
        whole = Segment(0, clean(generate(length)))
        parts = [
            "".join(whole.characters(begin, min(begin + size, whole.count)))
            for begin in range(0, whole.count, size)
        ]

        def fill() -> None:
            log = Log("r" * 22, pace=pace, lag=lag)
            for at, part in enumerate(parts):
                log.append(part, 50 * at)
            log.finish(End("done", "stop"), 50 * len(parts))

        return fill

    assert_linear(prepare)


@corpus
def test_segment(generate: Generator) -> None:
    def prepare(length: int) -> Work:
        text = clean(generate(length))

        def read() -> None:
            segment = Segment(0, text)
            for begin in range(0, segment.count, 1000):
                segment.characters(begin, min(begin + 1000, segment.count))

        return read

    assert_linear(prepare)


@corpus
def test_what_has_room(generate: Generator) -> None:
    def prepare(length: int) -> Work:
        text = clean(generate(length))
        room = len(text.encode()) - 1
        return lambda: fitting(text, room)

    assert_linear(prepare)
