"""Replies: what chatsvc exists for. Knows no transport and no HTTP."""

from .replies import Replies
from .reply import Moved, Reply
from .running import Observer

__all__ = ["Moved", "Observer", "Replies", "Reply"]
