"""Whole services for the tests of stores."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from chatsvc.backends.base import Backend
from chatsvc.replies import Replies
from chatsvc.stores.redis import RedisStore
from chatsvc.ticker import Ticker
from tests.redis_server import RedisServer

from .services import Service


@pytest.fixture(scope="package", autouse=True)
def only_authorities_of_the_tests() -> Iterator[None]:
    """Trust none of the system's authorities: redis-py reads them all again for each connection by TLS,
    which takes 40 ms, and a store in a Cluster opens twenty.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
            patch.setenv(name, os.devnull)
        yield


@pytest.fixture
async def service(redis_server: RedisServer) -> AsyncIterator[Service]:
    """Starts services on the same Redis, whose leases are short."""
    async with AsyncExitStack() as stack:

        async def start(
            backend: Backend,
            kind: Callable[..., RedisStore] = RedisStore,
            **options: Any,
        ) -> Replies:
            store = kind(redis_server.url, keep=60, lease=1.0)
            await store.open()
            stack.push_async_callback(store.close)
            replies = Replies(store, backend, Ticker(store.clock), **options)
            stack.push_async_callback(replies.close)
            return replies

        yield start
