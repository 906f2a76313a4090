"""The names by which the store knows an AI SDK's chats and messages (PROTOCOL.md section 5).

A chat's name stands for its last reply until a page has that to its end. The name of a message stands
for the last reply that goes on with it, where that isn't the reply whose id the message has. Names
are digests, because knowing the id of a chat, or of a message, is a right.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress

from chatsvc.problems import ReplyExpired, ReplyNotFound
from chatsvc.replies import Replies, Reply
from chatsvc.requests.values import Caller


def chat_name(caller: Caller, chat_id: str) -> str | None:
    """Return the name of a caller's chat, or None if another stranger may have chosen its id, too."""
    return _digest(f"{len(caller.user)}:{caller.user}{chat_id}", caller, chat_id)


def message_name(caller: Caller, message_id: str) -> str | None:
    """Return the name of a message of a caller's, or None, as for a chat's id."""
    text = f"message:{len(caller.user)}:{caller.user}{message_id}"
    return _digest(text, caller, message_id)


def _digest(text: str, caller: Caller, id: str) -> str | None:
    return hashlib.sha256(text.encode()).hexdigest() if caller.shares(id) else None


async def find_named(
    replies: Replies, caller: Caller, name: str | None
) -> Reply | None:
    """Return the reply that a name stands for, if the caller's user owns it and it is kept.

    Raises `StoreUnavailable`.
    """
    if name is None:
        return None
    return await find_kept(replies, caller, await replies.recall_name(name))


async def find_kept(
    replies: Replies, caller: Caller, reply_id: str | None
) -> Reply | None:
    """Return the reply with an id, if there is one, the caller's user owns it and it is kept.

    Raises `StoreUnavailable`.
    """
    if reply_id is not None:
        with suppress(ReplyNotFound, ReplyExpired):
            return await replies.open(reply_id, user=caller.user)
    return None
