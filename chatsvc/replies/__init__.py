"""Replies: what chatsvc exists for. Knows no transport and no HTTP."""

from chatsvc.replies.producers import Observer
from chatsvc.replies.reader import ReplyReader, SentAway
from chatsvc.replies.replies import Replies
from chatsvc.replies.reply import Reply

__all__ = ["Observer", "Replies", "Reply", "ReplyReader", "SentAway"]
