"""The store as a user with the least rights, those of the README; and without one of them, or its password."""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trustme

from chatsvc.problems import StoreUnavailable
from chatsvc.stores.base import StoreMisconfigured
from chatsvc.stores.redis import RedisStore
from chatsvc.stores.redis.connect import disconnect
from tests.conftest import require
from tests.readme import README

from . import (
    test_adopting,
    test_beginning,
    test_following,
    test_limits,
    test_redis,
    test_stopping,
)
from .contract import StoreContract
from .kinds import RedisCluster, Sentinels, Tls
from .limited import (
    FOR_A_DATABASE,
    FOR_SENTINEL,
    IN_A_CLUSTER,
    USER,
    LimitedServer,
    limit,
    rights,
)
from .test_following import client
from .test_limits import redis
from .test_redis import Node, RedisPlace, node

__all__ = ["client", "node", "redis"]

CHATSVC = Path(__file__).parent.parent.parent / "chatsvc" / "stores" / "redis"


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedServer]:
    """The Redis of the tests of this module, for the user with the least rights."""
    require("redis-server", "redis-cli")
    server = LimitedServer(tmp_path_factory.mktemp("limited"))
    server.start()
    yield server
    server.stop()


class TestLeastRights(StoreContract):
    """The contract."""

    @pytest.fixture
    async def place(self, redis_server: LimitedServer) -> AsyncIterator[RedisPlace]:
        place = RedisPlace(redis_server.url, redis_server.admin_url)
        await place.client.flushall()
        await place.store.open()
        yield place
        await place.store.close()
        await disconnect(place.client)


@pytest.mark.thorough
class TestLife:
    """What other modules test of the store in Redis, as this user: it is all run again."""


@pytest.mark.thorough
class TestFollowing:
    """The same of `test_following`, whose leases are shorter."""

    @pytest.fixture
    def node(self, node: Node) -> Node:
        return partial(node, lease=0.3)


for _kind, _modules in (
    (TestLife, (test_adopting, test_beginning, test_limits, test_redis, test_stopping)),
    (TestFollowing, (test_following,)),
):
    for _module in _modules:
        for _name, _test in vars(_module).items():
            if _name.startswith("test_"):
                setattr(_kind, _name, staticmethod(_test))


def used() -> set[str]:
    """The commands that the store sends, by its source."""
    python = "".join(file.read_text() for file in CHATSVC.glob("*.py"))
    lua = "".join(
        file.read_text()
        for file in (CHATSVC / "scripts").glob("*.lua")
        if file.stem != "rights"
    )
    names = re.findall(r'ask\(\s*"([A-Z]+)"', python)
    names += re.findall(r"_client\.(x\w+)\(", python)
    names += re.findall(r"redis\.call\('([A-Z]+)'", lua)
    return {name.lower() for name in names} | {"evalsha", "script|load"}


def test_the_user_has_the_rights_that_are_used_and_no_other() -> None:
    assert set(rights()) == used()


def test_every_right_is_tried_at_the_start() -> None:
    trials = (CHATSVC / "scripts" / "rights.lua").read_text()
    tried = {
        name.lower() for name in re.findall(r"^  \{'([A-Z]+)'", trials, re.MULTILINE)
    }
    assert tried == used() - {"evalsha", "script|load"}


@pytest.mark.parametrize("right", rights())
async def test_a_missing_right_is_named_at_the_start(
    right: str, redis_server: LimitedServer
) -> None:
    redis_server.allow(f"redis-cli ACL SETUSER chatsvc '-{right}'")
    try:
        store = RedisStore(redis_server.url, keep=60, patience=0.6)
        with pytest.raises(StoreMisconfigured, match=re.escape(right.split("|")[0])):
            await store.open()
    finally:
        redis_server.allow(f"redis-cli ACL SETUSER chatsvc '+{right}'")
    await store_opens(redis_server.url)


async def store_opens(address: str, **options: str) -> None:
    store = RedisStore(address, keep=60, **options)  # type: ignore[arg-type]
    await store.open()
    await store.close()


async def test_keys_of_another_prefix_are_refused(redis_server: LimitedServer) -> None:
    store = RedisStore(redis_server.url, keep=60, prefix="other", patience=0.6)
    with pytest.raises(StoreMisconfigured, match="no permissions"):
        await store.open()
    redis_server.allow("redis-cli ACL SETUSER chatsvc '~other:*'")
    await store_opens(redis_server.url, prefix="other")


async def test_keys_that_may_be_read_alone_are_refused(tmp_path: Path) -> None:
    require("redis-server", "redis-cli")
    server = LimitedServer(tmp_path)
    server.start()
    try:
        server.allow("redis-cli ACL SETUSER chatsvc resetkeys '%R~chatsvc:*'")
        with pytest.raises(StoreMisconfigured, match="access"):
            await RedisStore(server.url, keep=60, patience=0.6).open()
    finally:
        server.stop()


async def test_another_database_takes_one_right_more(
    redis_server: LimitedServer,
) -> None:
    with pytest.raises(StoreMisconfigured, match="select"):
        await RedisStore(redis_server.database(3), keep=60, patience=0.6).open()
    redis_server.allow(f"redis-cli ACL SETUSER chatsvc {FOR_A_DATABASE}")
    await store_opens(redis_server.database(3))
    redis_server.allow("redis-cli ACL SETUSER chatsvc -select")


@pytest.mark.parametrize(
    "further", [IN_A_CLUSTER, FOR_SENTINEL, FOR_A_DATABASE], ids=str
)
def test_the_readme_names_the_further_rights(further: str) -> None:
    assert f"`{further}`" in README.read_text()


def cluster_by_tls(folder: Path) -> RedisCluster:
    return RedisCluster(folder, tls=Tls(folder, trustme.CA()))


def sentinels_by_tls(folder: Path) -> Sentinels:
    return Sentinels(folder, tls=Tls(folder, trustme.CA()))


@pytest.fixture(scope="module", params=[cluster_by_tls, sentinels_by_tls])
def kind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisCluster | Sentinels]:
    """One of each kind, with the user on each of its servers; only that user may do anything.

    They speak TLS. In test_kinds the same kinds do not, and let everybody do everything.
    """
    require("redis-server", "redis-cli")
    make: Callable[[Path], RedisCluster | Sentinels] = request.param
    kind = make(tmp_path_factory.mktemp("limited"))
    try:
        kind.start()
        if isinstance(kind, RedisCluster):
            for server in kind.servers:
                limit(server, IN_A_CLUSTER)
        else:
            for server in kind.servers:
                limit(server)
            user = f"reset on '>another' {FOR_SENTINEL}"
            kind.sentinel.allow(f"redis-cli ACL SETUSER watcher {user}")
        yield kind
    finally:
        kind.stop()


def address_of(
    kind: RedisCluster | Sentinels, user: str = USER, watcher: str = "another"
) -> str:
    """The address for users and passwords of Redis and Sentinel."""
    if isinstance(kind, RedisCluster):
        return kind.address(user)
    own = f"sentinel_username=watcher&sentinel_password={watcher}"
    return kind.address(user, own)


@pytest.mark.thorough
class TestLeastRightsOfEveryKind(StoreContract):
    """The contract."""

    @pytest.fixture
    async def place(self, kind: RedisCluster | Sentinels) -> AsyncIterator[RedisPlace]:
        place = RedisPlace(address_of(kind), kind.url)
        await place.client.flushall()
        await place.store.open()
        yield place
        await place.store.close()
        await disconnect(place.client)


@pytest.mark.thorough
async def test_every_kind_says_that_the_password_is_wrong(
    kind: RedisCluster | Sentinels, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = [address_of(kind, "chatsvc:hunter2@")]
    if isinstance(kind, Sentinels):
        wrong.append(address_of(kind, watcher="hunter2"))
    for address in wrong:
        with pytest.raises(StoreMisconfigured, match="username|Auth") as failure:
            await RedisStore(address, keep=60, patience=6).open()
        assert "hunter2" not in str(failure.value)
        assert len(str(failure.value)) < 200
    assert "hunter2" not in caplog.text


# redis-py drops a connection of a Cluster that it was still looking at, unclosed, for the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.thorough
async def test_every_kind_says_that_a_right_is_missing(
    kind: RedisCluster | Sentinels,
) -> None:
    for server in kind.servers:
        server.allow("redis-cli ACL SETUSER chatsvc -srandmember")
    try:
        with pytest.raises(StoreMisconfigured, match=r"\+srandmember"):
            await RedisStore(address_of(kind), keep=60, patience=6).open()
    finally:
        for server in kind.servers:
            server.allow("redis-cli ACL SETUSER chatsvc +srandmember")
        gc.collect()


@pytest.mark.parametrize(
    ("user", "says"),
    [
        ("chatsvc:hunter2@", "invalid username-password"),
        ("nobody:hunter2@", "invalid username-password"),
        ("", "Authentication required"),
    ],
)
async def test_a_wrong_password_is_said_and_not_shown(
    user: str, says: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    require("redis-server", "redis-cli")
    server = LimitedServer(tmp_path)
    server.start()
    server.allow("redis-cli CONFIG SET requirepass topsecret")
    try:
        address = f"redis://{user}127.0.0.1:{server.port}/0"
        with pytest.raises(StoreMisconfigured, match=says) as failure:
            await RedisStore(address, keep=60, patience=0.6).open()
        assert "hunter2" not in f"{failure.value!r} {caplog.text}"
    finally:
        server.stop()


async def test_an_error_that_quotes_the_password_is_masked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis quotes a command that it doesn't know with its arguments: here it is AUTH."""
    require("redis-server", "redis-cli")
    server = LimitedServer(tmp_path)
    server.options = ("--rename-command", "AUTH", "")
    super(LimitedServer, server).start()
    try:
        address = f"redis://chatsvc:hunter2@127.0.0.1:{server.port}/0"
        with pytest.raises(StoreUnavailable) as failure:
            await RedisStore(address, keep=60, patience=0.6).open()
        assert "unknown command 'AUTH'" in caplog.text
        assert "***" in caplog.text
        assert "hunter2" not in f"{failure.value!r} {caplog.text}"
        assert failure.value.__cause__ is failure.value.__context__ is None
    finally:
        server.stop()


async def test_a_missing_right_while_it_runs_is_logged_and_waited_for(
    redis_server: LimitedServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisStore(redis_server.url, keep=60, lease=0.5)
    await store.open()
    try:
        redis_server.allow("redis-cli ACL SETUSER chatsvc -zadd")
        async with asyncio.timeout(20):
            while store.ready():
                await asyncio.sleep(0.01)
        # The lease is renewed in a script.
        assert "The user executing the script can't run this command" in caplog.text
        redis_server.allow("redis-cli ACL SETUSER chatsvc +zadd")
        async with asyncio.timeout(20):
            while not store.ready():
                await asyncio.sleep(0.01)
    finally:
        redis_server.allow("redis-cli ACL SETUSER chatsvc +zadd")
        await store.close()
