"""Replies: what chatsvc exists for. Knows no transport and no HTTP."""

from .replies import Observer, Replies
from .reply import Reply

__all__ = ["Observer", "Replies", "Reply"]
