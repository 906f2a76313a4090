"""Replies in Redis."""

from chatsvc.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
