"""A rolling restart behind the proxies of the README and of `chatsvc deploy`: no client sees a failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from yarl import URL

from chatsvc.deploy.kinds import deploy
from tests.caddy_server import CaddyServer
from tests.conftest import require
from tests.loopback import free_port
from tests.nginx_server import NginxServer
from tests.redis_server import RedisServer

from .conftest import Cluster, readme_flags
from .nodes import Node
from .rolling import Answers, roll

pytestmark = pytest.mark.thorough


def check(answers: Answers) -> None:
    """Fail for an answer that no client should get, and if the service was not used much."""
    assert not answers.faults
    assert set(answers.texts) == {("done", True)}
    assert answers.statuses[200] > 50


@pytest.fixture
async def nodes(cluster: Cluster, redis_server: RedisServer) -> list[Node]:
    """Two nodes, by the README's command, that drain and write quickly."""
    quick = ("--drain", "1", "--pace", "0.01", "--limits", "off")
    return await cluster(2, *readme_flags(redis_server), *quick)


def kit(kind: str, port: int, nodes: Sequence[Node]) -> str:
    """The file of `chatsvc deploy` for a proxy on a port before some nodes."""
    addresses = [f"127.0.0.1:{node.port}" for node in nodes]
    return deploy(kind, {"listen": f"127.0.0.1:{port}", "node": addresses})


async def test_the_readmes_nginx(nodes: list[Node], balancer: URL) -> None:
    check(await roll(nodes, balancer, rounds=2))


@pytest.mark.parametrize(
    ("kind", "server"), [("nginx", NginxServer), ("caddy", CaddyServer)]
)
async def test_the_kits_proxies(
    kind: str,
    server: Callable[[Path, int, str], NginxServer | CaddyServer],
    nodes: list[Node],
    tmp_path: Path,
) -> None:
    require(kind)
    port = free_port()
    proxy = server(tmp_path, port, kit(kind, port, nodes))
    proxy.start()
    try:
        check(await roll(nodes, URL(proxy.url)))
    finally:
        proxy.stop()
