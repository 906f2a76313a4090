"""A reply has one end, whatever nodes it passes: one of them says that it has ended, and counts it, on a real Redis."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from chatsvc.backends.echo import EchoBackend
from chatsvc.model import Message, Prompt
from chatsvc.replies import Replies, Reply
from chatsvc.stores.redis import RedisStore
from chatsvc.web.logs import EventLog
from chatsvc.web.metrics import Metrics
from tests.replies.serving import Watch

from .services import PROMPT, WAIT, Scripted, Service, arrived, ended

TEXT = "a text that goes on elsewhere"
ECHOED = Prompt((Message("user", TEXT),))


class Node:
    """A service, what was noted of its replies, and what was counted."""

    def __init__(self) -> None:
        self.watch = Watch()
        self.metrics = Metrics()
        self.replies: Replies

    @property
    def noted(self) -> list[tuple[str, str | None]]:
        """What was noted, without the first characters."""
        return [each for each in self.watch.events if each[0] != "first"]

    @property
    def store(self) -> RedisStore:
        """Its store."""
        assert isinstance(self.replies.store, RedisStore)
        return self.replies.store

    def counted(self) -> dict[str, float]:
        """What the scrape shows of replies."""
        body = self.metrics.exposition().body
        assert isinstance(body, bytes)
        found = re.findall(
            r"^chatsvc_(replies_started|replies_ended|characters)_total(?:{.*})? (\S+)$",
            body.decode(),
            re.MULTILINE,
        )
        sums: dict[str, float] = {}
        for name, value in found:
            sums[name] = sums.get(name, 0.0) + float(value)
        return sums


class Nodes:
    """Starts nodes that share replies with one another, and with no other test."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store = partial(RedisStore, prefix=f"t{secrets.token_hex(6)}")
        self.all: list[Node] = []

    async def start(self, backend: Any, **options: Any) -> Node:
        """One more node."""
        node = Node()
        observers = (node.watch, node.metrics, EventLog("a-name"))
        node.replies = await self._service(
            backend, self._store, observers=observers, **options
        )
        self.all.append(node)
        return node

    async def once(self, *nodes: Node) -> None:
        """Wait until something has become of the reply on each of these nodes."""
        async with asyncio.timeout(WAIT):
            for node in nodes:
                await node.watch.over.wait()

    def sums(self) -> dict[str, float]:
        """What all nodes have counted."""
        sums: dict[str, float] = {}
        for node in self.all:
            for name, value in node.counted().items():
                sums[name] = sums.get(name, 0.0) + value
        return sums


@pytest.fixture
async def nodes(service: Service) -> AsyncIterator[Nodes]:
    yield Nodes(service)


def counts(characters: int) -> dict[str, float]:
    return {"replies_started": 1, "replies_ended": 1, "characters": characters}


async def begin(node: Node, other: Node, prompt: Prompt) -> tuple[Reply, Reply]:
    """A reply that both nodes have some text of."""
    reply = await node.replies.start(prompt)
    elsewhere = await other.replies.open(reply.id)
    await arrived(other.replies, elsewhere, 3)
    return reply, elsewhere


async def test_a_reply_that_is_carried_on_ends_once(
    nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "chatsvc.events")
    giver = await nodes.start(EchoBackend(), pace=0.05)
    taker = await nodes.start(EchoBackend(), pace=0.05)
    reply, elsewhere = await begin(giver, taker, ECHOED)
    await giver.replies.drain(0)
    await nodes.once(giver, taker)
    assert (await ended(elsewhere))[0] == TEXT
    assert giver.noted == [("started", None), ("handed_on", "")]
    assert taker.noted == [("taken_over", None), ("ended", "stop")]
    assert nodes.sums() == counts(len(TEXT))
    lines = [(each.getMessage(), vars(each)["data"]) for each in caplog.records]
    short = reply.id[:6]
    assert [(message, data["reply"]) for message, data in lines] == [
        ("reply handed on", short),
        ("reply taken over", short),
        ("reply ended", short),
    ]
    assert "to" not in lines[0][1]
    assert lines[1][1]["node"] == "a-name"
    assert lines[2][1] == {
        "reply": short,
        "state": "done",
        "finish_reason": "stop",
        "code_points": len(TEXT),
    }


async def test_a_node_that_was_taken_for_dead_names_its_successor(nodes: Nodes) -> None:
    giver = await nodes.start(EchoBackend(), pace=0.05)
    taker = await nodes.start(EchoBackend(), pace=0.05)
    _, elsewhere = await begin(giver, taker, ECHOED)
    await giver.store._leases.close()
    await nodes.once(giver, taker)
    assert (await ended(elsewhere))[0] == TEXT
    assert giver.noted == [("started", None), ("handed_on", taker.store.node)]
    assert taker.noted == [("taken_over", None), ("ended", "stop")]
    assert nodes.sums() == counts(len(TEXT))


async def test_what_cannot_be_carried_on_ends_where_it_was(nodes: Nodes) -> None:
    backend = Scripted("half of it")
    backend.close_now.set()
    node, other = await nodes.start(backend), await nodes.start(Scripted())
    _, elsewhere = await begin(node, other, PROMPT)
    await node.replies.drain(0)
    await nodes.once(node)
    text, end = await ended(elsewhere)
    assert end.finish_reason == "interrupted"
    assert node.noted == [("started", None), ("ended", "interrupted")]
    assert other.noted == []
    assert nodes.sums() == counts(len(text))


async def test_a_stop_on_another_node_is_noted_by_the_owner(nodes: Nodes) -> None:
    backend = Scripted("half of it")
    backend.close_now.set()
    node, other = await nodes.start(backend), await nodes.start(Scripted())
    _, elsewhere = await begin(node, other, PROMPT)
    await other.replies.stop(elsewhere)
    await nodes.once(node)
    assert node.noted == [("started", None), ("ended", "stopped")]
    assert other.noted == []
    assert nodes.sums()["replies_ended"] == 1


async def test_a_stop_between_two_owners_is_noted_once(nodes: Nodes) -> None:
    """It is nobody's when it is stopped; whoever finds it says so."""
    giver = await nodes.start(EchoBackend(), pace=0.05)
    taker = await nodes.start(EchoBackend(), pace=0.05)
    _, elsewhere = await begin(giver, taker, ECHOED)
    taker.replies.admission.draining = True  # so that it takes nothing over yet
    await giver.replies.drain(0)
    await nodes.once(giver)
    await taker.replies.stop(elsewhere)
    taker.replies.admission.draining = False
    await nodes.once(taker)
    assert giver.noted == [("started", None), ("handed_on", "")]
    assert taker.noted == [("ended", "stopped")]
    assert nodes.sums()["replies_ended"] == 1


async def test_an_owner_that_sleeps_through_the_end_leaves_it_to_its_successor(
    nodes: Nodes,
) -> None:
    giver = await nodes.start(Scripted(TEXT))
    taker = await nodes.start(Scripted())
    reply, elsewhere = await begin(giver, taker, PROMPT)
    # It sees nothing of what happens, as a process that is paused.
    await giver.store._leases.close()
    await giver.store._followers.close()
    text, end = await ended(elsewhere)
    assert end.finish_reason == "interrupted"
    # It wakes, and is asked to stop what it takes for its own.
    await giver.store._followers.open()
    await giver.replies.stop(reply)
    giver.replies.backend.close_now.set()  # type: ignore[attr-defined]
    await nodes.once(giver, taker)
    assert giver.noted == [("started", None), ("handed_on", taker.store.node)]
    assert taker.noted == [("taken_over", None), ("ended", "interrupted")]
    assert nodes.sums() == counts(len(text))


async def test_the_replies_of_a_user_who_is_gone_are_stopped_once(nodes: Nodes) -> None:
    giver = await nodes.start(EchoBackend(), pace=0.05)
    taker = await nodes.start(
        EchoBackend(), pace=0.05, has_ended=lambda user: user == "lost"
    )
    reply = await giver.replies.start(ECHOED, user="lost")
    elsewhere = await taker.replies.open(reply.id, user="lost")
    await arrived(taker.replies, elsewhere, 3)
    await giver.replies.drain(0)
    await nodes.once(giver, taker)
    assert giver.noted == [("started", None), ("handed_on", "")]
    assert taker.noted == [("ended", "stopped")]
    assert nodes.sums()["replies_ended"] == 1
