"""What becomes of a reply whose owner dies, on a real Redis: another node carries it on, or ends it as it was to end."""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.backends.base import Finish
from chatsvc.problems import BackendFailed
from chatsvc.stores.log import End

from .services import PROMPT, WAIT, Scripted, Service, arrived, die, ended

USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
FAILURE = BackendFailed("The model's server fell silent.")


@pytest.mark.parametrize(
    ("finish", "end"),
    [
        (Finish("stop", USAGE), End("done", "stop", usage=USAGE)),
        (Finish("length", USAGE), End("done", "length", usage=USAGE)),
        (FAILURE, End("failed", "error", FAILURE.as_dict())),
    ],
)
async def test_once_the_text_is_complete_it_ends_as_its_owner_would_have_ended_it(
    service: Service, finish: Finish | Exception, end: End
) -> None:
    text = "a text that has arrived, but is not out."
    owner, other = await service(Scripted(text, finish)), await service(Scripted())
    reply = await owner.start(PROMPT)
    elsewhere = await other.open(reply.id)
    async with asyncio.timeout(WAIT):
        while elsewhere.log.ending is None:
            await other.store.refresh(elsewhere.log)
    await die(owner)
    assert await ended(elsewhere) == (text, end)


async def test_a_text_that_is_not_complete_ends_as_interrupted(
    service: Service,
) -> None:
    backend = Scripted("half of ")
    backend.close_now.set()
    owner, other = await service(backend), await service(Scripted())
    reply = await owner.start(PROMPT)
    elsewhere = await other.open(reply.id)
    await arrived(other, elsewhere, 7)
    await die(owner)
    text, end = await ended(elsewhere)
    # The last character was held back: another code point might have joined it.
    assert (text, end.state, end.finish_reason) == ("half of", "failed", "interrupted")
