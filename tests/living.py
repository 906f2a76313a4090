"""What is alive of replies: counted among the objects that the garbage collector knows."""

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from chatsvc.log import Log
from chatsvc.replies.log_writer import LogWriter
from chatsvc.replies.producer import Producer
from chatsvc.replies.reader import ReplyReader
from chatsvc.replies.reply import Reply

OF_REPLIES = (Reply, Log, LogWriter, Producer, ReplyReader)
"""The classes of which each reply has objects of its own."""

OF_FAILURES = (asyncio.Task, TracebackType)
"""The classes of which there are objects while a task runs or an exception is held."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Switch the garbage collector off for as long as the block lasts."""
    gc.disable()
    gc.freeze()  # `made` finds only what is made from now on
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()


def made(*kinds: type) -> dict[str, int]:
    """Return how many objects of these classes have been made in `uncollected` and live.

    Those of a subclass count for the class; a class without any is not in the result.
    """
    counts: Counter[str] = Counter()
    for found, number in Counter(map(type, gc.get_objects())).items():
        for kind in kinds:
            if issubclass(found, kind):
                counts[kind.__name__] += number
    return dict(counts)


async def made_at_last(*kinds: type) -> dict[str, int]:
    """Return what `made` does, once that is nothing or three seconds are over.

    Some take a few turns, and a connection that is closed while its client still sends, a second.
    What waits for the collector is there after any time.
    """
    for _ in range(150):
        if not made(*kinds):
            break
        await asyncio.sleep(0.02)
    return made(*kinds)
