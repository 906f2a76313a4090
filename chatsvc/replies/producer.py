"""The one writer of a reply: reads the backend and fills the log, whether anybody reads or not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing

import msgspec

from ..backends.base import Backend, Finish
from ..characters import Splitter
from ..problems import BackendFailed, Problem
from ..stores.base import Ended, Store
from ..stores.log import End, Segment
from .reply import Reply

logger = logging.getLogger("chatsvc.backend")

TURN = 64
"""Pieces after which the event loop gets a turn, for a backend may give all of them without ever waiting."""


async def produce(
    reply: Reply,
    backend: Backend,
    store: Store,
    max_bytes: int,
    first: Callable[[Reply], None],
) -> None:
    """Fill the reply's log from the backend and end it; ends quietly once somebody else has ended it.

    `first` is told when the first character has arrived. A reply that has text is carried on behind it.

    Cancelled, it closes the backend's generator and leaves the end to whoever cancelled it.
    """
    log = reply.log
    splitter = Splitter()
    size = log.size  # counted here: what a store takes may show in the log later
    end = End("done", "stop")
    count = 0

    async def add(text: str) -> bool:
        """Append what fits; whether all of it did."""
        nonlocal size
        fitting = _fitting(text, max_bytes - size)
        if fitting:
            if not size:
                first(reply)
            size += len(fitting.encode())
            await store.append(log, fitting)
        return len(fitting) == len(text)

    try:
        try:
            prompt = (
                msgspec.structs.replace(reply.record.prompt, written=log.text(0))
                if size
                else reply.record.prompt
            )
            async with aclosing(backend.stream(prompt)) as pieces:
                async for piece in pieces:
                    count += 1
                    if not count % TURN:
                        await asyncio.sleep(0)
                    if isinstance(piece, Finish):
                        end = End("done", piece.reason, usage=piece.usage)
                    elif not await add(splitter.feed(piece)):
                        end = End("done", "length")
                        break
                else:
                    if not await add(splitter.close()):
                        end = End("done", "length")
        except Ended:
            raise
        except Exception as error:  # noqa: BLE001  (a stranger's code may raise anything)
            problem = _told(error, backend)
            if end.finish_reason != "length":  # else it failed in closing
                await add(splitter.close())  # text held back is delivered first
                end = End("failed", "error", problem.as_dict())
        await store.complete(log, end)
        await finish(reply, store, end)
    except Ended:
        return
    except Problem as problem:  # the store is away: say so to those who read here
        reply.finishing = True
        await store.finish(log, End("failed", "error", problem.as_dict()))


async def finish(reply: Reply, store: Store, end: End) -> None:
    """Set the end once all text is out. Raises `Ended`."""
    await reply.released()
    reply.finishing = True
    await store.finish(reply.log, end)


def _told(error: Exception, backend: Backend) -> Problem:
    """What readers are told of a failure: a problem's own words, or none of a stranger's."""
    if isinstance(error, Problem):
        return error
    logger.error("the backend %s failed", backend.name, exc_info=error)
    return BackendFailed(f"The backend {backend.name} failed.")


def _fitting(text: str, room: int) -> str:
    """As many whole characters of `text` as have room, in bytes of UTF-8."""
    if len(text) * 4 <= room or len(text.encode()) <= room:
        return text
    segment = Segment(0, text)
    fits, size = 0, 0
    for character in segment.characters(0, segment.count):
        size += len(character.encode())
        if size > room:
            break
        fits += len(character)
    return text[:fits]
