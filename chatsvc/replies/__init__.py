"""Replies: what chatsvc exists for. Knows no transport and no HTTP."""

from .characters import Characters, Moved
from .replies import Replies
from .reply import Reply
from .running import Observer

__all__ = ["Characters", "Moved", "Observer", "Replies", "Reply"]
