"""What begins while a node or Redis goes away is begun once, and by somebody; on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from chatsvc.backends.function import FunctionBackend
from chatsvc.client_limits import UNLIMITED, StartLimits
from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.problems import StoreUnavailable
from chatsvc.replies import handover
from chatsvc.stores.base import Record
from chatsvc.stores.redis import RedisStore
from tests.redis_server import RedisServer

from .services import PROMPT, Service, ended

ANSWERED = "answer", End("done", "stop")


class Counted:
    """A function that can't carry on, and that counts how often it is called."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, messages: list[dict[str, str]]) -> AsyncIterator[str]:
        self.calls += 1
        yield "answer"


class LosesTheAnswer(RedisStore):
    """Is away when Redis has begun a reply, and this node has not heard of that."""

    async def create(self, record: Record, limits: StartLimits = UNLIMITED) -> str:
        self._owner.forget(await super().create(record, limits))
        raise StoreUnavailable("Redis can't be reached.")


class FindsLate(RedisStore):
    """Is away when a reply is looked at for the first time."""

    away = True

    async def find(self, reply_id: str) -> tuple[Record, Log]:
        if self.away:
            self.away = False
            raise StoreUnavailable("Redis can't be reached.")
        return await super().find(reply_id)


async def test_a_key_whose_node_died_before_it_began_is_begun_by_the_next(
    service: Service, redis_server: RedisServer
) -> None:
    counted = Counted()
    dead, a, b = [await service(FunctionBackend(counted)) for _ in range(3)]
    reply = await dead.start(PROMPT, key="begun")
    assert await ended(reply) == ANSWERED
    # As if it had died when the key was given and the reply not yet begun.
    async with Redis.from_url(redis_server.admin_url) as redis:
        await redis.delete(*await redis.keys(f"*{reply.id}*"))
    again = await asyncio.gather(*(n.start(PROMPT, key="begun") for n in (a, b, a, b)))
    assert {other.id for other in again} == {reply.id}
    for other in again:
        assert await ended(other) == ANSWERED
    assert counted.calls == 2


@pytest.mark.parametrize("kind", [LosesTheAnswer, FindsLate])
async def test_a_reply_that_was_begun_after_all_is_produced(
    service: Service, kind: type[RedisStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "CREATED_POLL_S", 0.01)
    counted = Counted()
    a = await service(FunctionBackend(counted), kind)
    b = await service(FunctionBackend(counted))
    with pytest.raises(StoreUnavailable):
        await a.start(PROMPT, key=kind.__name__)
    reply = await b.start(PROMPT, key=kind.__name__)
    assert await ended(reply) == ANSWERED
    assert counted.calls == 1


class Away(RedisStore):
    """Is away whenever a reply is begun or looked at."""

    async def create(self, record: Record, limits: StartLimits = UNLIMITED) -> str:
        raise StoreUnavailable("Redis can't be reached.")

    async def find(self, reply_id: str) -> tuple[Record, Log]:
        raise StoreUnavailable("Redis can't be reached.")


async def test_while_redis_is_away_not_every_question_leaves_something(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "MOST_CREATED_POLLS", 3)
    a = await service(FunctionBackend(Counted()), Away)
    for _ in range(10):
        with pytest.raises(StoreUnavailable):
            await a.start(PROMPT)
    await asyncio.sleep(0)  # what is to leave at once does so
    assert len(a._background._tasks) == 3
