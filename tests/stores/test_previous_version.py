"""What version 0.1, the one before this, has left in Redis: this version serves it and carries it on.

It is recorded in written_by_a55fd24.json, for clones without their history.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.cluster.nodes import Node
from tests.conftest import require
from tests.old_version import PREVIOUS
from tests.redis_server import RedisServer

from .recording import (
    BACKEND,
    COMPLETE,
    ENDED,
    KEY,
    Recording,
    ask,
    begin,
    ended,
    load,
    record,
)
from .recording import snapshots as snapshots_of

FILE = Path(__file__).with_name(f"written_by_{PREVIOUS}.json")


@pytest.fixture(params=["recorded", "of this version"])
async def recording(
    request: pytest.FixtureRequest, redis_server: RedisServer
) -> Recording:
    """What the other version has left; and, by the same requests, what this one leaves."""
    if request.param == "recorded":
        found: Recording = json.loads(FILE.read_text())
        return found
    require("redis-server")
    node_root = Path(__file__).parents[2]
    return await record(node_root, redis_server.database(10), BACKEND)


@pytest.fixture
async def node(recording: Recording, redis_server: RedisServer) -> AsyncIterator[Node]:
    """A node of this version on a Redis that holds it."""
    url = redis_server.database(10)
    async with Redis.from_url(url, decode_responses=True) as client:
        await load(client, recording)
    node = Node(url, "--backend", BACKEND, "--pace", "0", "--drain", "0")
    await node.start()
    yield node
    await node.kill()


async def test_it_answers_as_the_other_and_carries_on(
    recording: Recording, node: Node
) -> None:
    ids = recording["replies"]
    for each in ENDED:
        assert await snapshots_of(node, ids[each]) == recording["answers"][each], each
    # Another body under this key would be refused: the digest is compared, too.
    assert await begin(node, "done", **{"Idempotency-Key": KEY}) == ids["done"]
    shared = await ask(node, f"api/shared/{recording['shared']}?after=0&wait=0")
    assert shared["text"] == recording["answers"]["done"]["characters"]["text"]
    complete = await ended(node, ids["complete"])
    assert (complete["text"], complete["finish_reason"]) == (COMPLETE, "stop")
    cut = await ended(node, ids["running"])
    # Without its last character, which more might have come to.
    assert (cut["text"], cut["finish_reason"]) == ("two thre", "interrupted")
