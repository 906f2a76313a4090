"""What a backend gives comes out as it is, and once; the observers see each step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chatsvc.backends.echo import EchoBackend
from chatsvc.graphemes import Splitter
from chatsvc.model import Finish, Message, Prompt

from .serving import Watch, asking, read, read_all, serving

pieces_of_text = st.lists(
    st.text(st.characters(codec=None), max_size=5)
    | st.sampled_from(["\r", "\n", "\u200d", "👩", "👍", "\U0001f3fd", "🇩", "\ud83d"]),
    max_size=8,
)


@given(pieces_of_text)
def test_any_text_in_any_pieces_comes_out_once(pieces: list[str]) -> None:
    async def run() -> None:
        async def answer(messages: list[dict[str, str]]) -> AsyncIterator[str]:
            for piece in pieces:
                yield piece
                await asyncio.sleep(0)

        splitter = Splitter()
        expected = "".join(map(splitter.feed, pieces)) + splitter.close()
        async with serving(answer, pace=0) as replies:
            reply = await replies.start(asking())
            both = await asyncio.gather(read(reply), read(reply))
            assert list(both) == [expected, expected]
            assert await read_all(await replies.open(reply.id)) == (
                expected,
                "done",
                "stop",
            )

    asyncio.run(run())


async def test_observers_are_called_in_order_and_once() -> None:
    watch = Watch()
    async with serving(EchoBackend(), pace=0, observers=(watch,)) as replies:
        assert await read_all(await replies.start(asking("好"))) == (
            "好",
            "done",
            "stop",
        )
        await watch.over.wait()
        await read_all(await replies.start(asking("")))
        await asyncio.sleep(0)
    assert watch.events == [
        ("started", None),
        ("first", None),
        ("ended", "stop"),
        ("started", None),
        ("ended", "stop"),
    ]


async def test_a_backend_may_say_why_it_ended() -> None:
    async def answer(messages: list[dict[str, str]]) -> AsyncIterator[str | Finish]:
        yield "a"
        yield Finish("content_filter", {"total_tokens": 3})

    async with serving(answer) as replies:
        reply = await replies.start(asking())
        assert await read_all(reply) == ("a", "done", "content_filter")
        assert reply.end is not None
        assert reply.end.usage == {"total_tokens": 3}


async def test_the_function_is_given_the_conversation() -> None:
    got: list[Any] = []

    async def answer(messages: list[dict[str, str]]) -> AsyncIterator[str]:
        got.append(messages)
        yield ""

    async with serving(answer) as replies:
        turns = (Message("system", "s"), Message("user", "你"))
        await read_all(await replies.start(Prompt(turns)))
    assert got == [
        [{"role": "system", "content": "s"}, {"role": "user", "content": "你"}]
    ]
