"""Share links: tokens that give one reply to read, and no more (PROTOCOL.md section 2)."""

from __future__ import annotations

import hashlib

from chatsvc.cursor import new_reply_id
from chatsvc.problems import ReplyNotFound
from chatsvc.replies.registry import Registry
from chatsvc.replies.reply import Reply
from chatsvc.stores.base import Store


class ShareLinks:
    """The share links of all replies: for each reply at most one token, which every node knows.

    A token has the form of a reply id, so that cursors can have it in the id's place. It is a name
    of the reply in the store, and leads to it for as long as that is kept. Being random, it says
    nothing of the reply's id, and the id, which is the right to stop the reply as well, nothing of
    the token.
    """

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    async def make(self, reply: Reply) -> str:
        """Return the token of a reply: the one that it has, or a new one.

        Raises `StoreUnavailable`.
        """
        token = new_reply_id()
        known = await self._store.remember(_of_reply(reply.id), token, only_new=True)
        # Also where the token was known: whoever was to write this may have died before.
        await self._store.remember(_of_token(known or token), reply.id)
        return known or token

    async def withdraw(self, reply: Reply) -> None:
        """Let the token of a reply lead nowhere, if it has one; who reads by it now reads on.

        Raises `StoreUnavailable`.
        """
        token = await self._store.recall(_of_reply(reply.id))
        if token is not None:
            # The token first: without the other name nobody could withdraw it any more.
            await self._store.forget(_of_token(token), reply.id)
            await self._store.forget(_of_reply(reply.id), token)

    async def open(self, token: str) -> Reply:
        """Return the reply that a token leads to, whoever owns it.

        Raises `ReplyNotFound` for a token that leads nowhere, `ReplyExpired` when the reply's text
        is no longer kept, and `StoreUnavailable`.
        """
        reply_id = await self._store.recall(_of_token(token))
        if reply_id is None:
            raise ReplyNotFound("There is no such share link.")
        return await self._registry.open(reply_id)


def _of_reply(reply_id: str) -> str:
    """Return the name that stands for the token of a reply."""
    return _digest(f"share link of {reply_id}")


def _of_token(token: str) -> str:
    """Return the name that stands for the reply of a token."""
    return _digest(f"share link {token}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
