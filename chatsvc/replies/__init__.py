"""Replies: what chatsvc exists for. Knows no transport and no HTTP."""

from .replies import Observer, Replies
from .reply import Moved, Reply

__all__ = ["Moved", "Observer", "Replies", "Reply"]
