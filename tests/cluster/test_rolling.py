"""A rolling restart behind the proxies of the README and of `chatsvc deploy`: no client sees a failure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from yarl import URL

from tests.redis_server import RedisServer

from .conftest import Cluster
from .nodes import Node
from .rolling import Answers, roll
from .test_behind_nginx import balancer as balancer
from .test_behind_nginx import nodes as nodes

pytestmark = pytest.mark.thorough


def check(answers: Answers) -> None:
    """Fail for an answer that no client should see, and if the service was not used much."""
    print(answers)
    assert not answers.faults
    assert set(answers.texts) == {("done", True)}
    assert answers.statuses[200] > 20


async def test_the_readmes_nginx(nodes: list[Node], balancer: URL) -> None:
    for node in nodes:
        node.flags = [*node.flags, "--drain", "1"]
    check(await roll(nodes, balancer))
