"""Which store the services of these tests use: `CHATSVC_TEST_REDIS`, the address of a Redis, or else memory."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from redis import Redis

from chatsvc.settings import Settings
from chatsvc.stores import make_store


def store(settings: Settings) -> dict[str, Any]:
    """The argument of `create_app`, if one is needed."""
    address = os.environ.get("CHATSVC_TEST_REDIS")
    if not address or settings.store != "memory":
        return {}
    redis = Redis.from_url(address)
    redis.flushdb()
    redis.close()
    return {"store": make_store(replace(settings, store=address))}
