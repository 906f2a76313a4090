"""Tickets: what stands in a URL in place of a key (PROTOCOL.md section 9).

A browser's `EventSource` and `WebSocket` can send no `Authorization`, and pages of another site
send no session. A ticket lets such a page begin one reply, and read that reply again when it
reconnects with the same URL. URLs end up in the logs of proxies, so a ticket is of little use to
whoever finds it there.

Invariants:

- A ticket that has no reply may be used for `TICKET_S` seconds after it was issued.
- Its reply is the first that it begins or reads. From then on it is good for reading that one
  alone, and for as long as the store knows it.
- Which reply that is, is a name in the store, so every node knows it. A reply that a ticket begins
  has the ticket as its idempotency key, unless the request has one of its own, so that of two
  requests at once only one begins any.
"""

from __future__ import annotations

from time import time

import msgspec
from aiohttp import hdrs, web
from msgspec.structs import replace

from chatsvc.problems import NotFound, Unauthorized
from chatsvc.replies import Replies, Reply
from chatsvc.requests.chat import digest
from chatsvc.requests.values import Caller, Read, Start, Stop
from chatsvc.users.current_keys import CurrentKeys
from chatsvc.users.identity import CHAT, Identity
from chatsvc.users.signatures import Purpose
from chatsvc.web.app_keys import KEYS, REPLIES, identity_of, service

TICKET_S = 60
"""The seconds in which a ticket must be used."""

_USED = "This ticket has its reply; ask for another ticket."


async def post_ticket(request: web.Request) -> web.Response:
    """Answer `POST /api/ticket`: a new ticket of the user who asks for it.

    Raises `NotFound` where the user is known by something else than an API key: nothing could sign
    a ticket that ends when the user does.
    """
    keys = service(request)[KEYS]
    identity = identity_of(request)
    if keys is None or not identity.key:
        raise NotFound("Tickets are for users with API keys.")
    now = int(time())
    ticket = keys.ring.signer.sign(
        Purpose.TICKET, identity.key, issued_s=now, expires_s=now + TICKET_S
    )
    body = msgspec.json.encode({"ticket": ticket, "expires_in": TICKET_S})
    return web.Response(body=body, content_type="application/json")


def ticket_of(request: web.Request, path: str) -> str | None:
    """Return the ticket of a request's URL, or None where there is none or a ticket is no use.

    It is of use to what a browser's `EventSource` and `WebSocket` ask for alone. `path` is that of
    the request below the prefix of the application.
    """
    if "ticket=" not in request.query_string or request.method != hdrs.METH_GET:
        return None
    if path in ("/api/chat", "/ws/chat") or path.startswith("/api/chat/"):
        return request.query.get("ticket")
    return None


async def holder_of(app: web.Application, keys: CurrentKeys, text: str) -> Identity:
    """Return the identity of whoever holds a ticket.

    Raises `Unauthorized` for a ticket that is none, whose key has been withdrawn, or that has no
    reply and has expired, and `StoreUnavailable`.
    """
    unknown = "The ticket is none that this service has given."
    ticket = keys.ring.signer.verify(Purpose.TICKET, text)
    if ticket is None:
        raise Unauthorized(unknown, refused=True)
    name = f"ticket {ticket.id}"
    reply = await app[REPLIES].recall_name(name)
    # Only now: a key that is withdrawn while the store answers ends no request without an identity.
    key = keys.ring.by_digest(ticket.key)
    if key is None:
        raise Unauthorized(unknown, refused=True)
    if reply is None and ticket.expires_s <= time():
        raise Unauthorized(
            "The ticket has expired; ask for another ticket.", refused=True
        )
    return replace(
        key.identity(),
        scopes=key.scopes & {CHAT},
        ticket=name,
        reply=reply or "",
    )


async def _reply_of(replies: Replies, caller: Caller) -> str | None:
    """Return the id of the reply that a caller's ticket has; None if it has none.

    A ticket keeps its reply, so the store need not be asked again for one that it had already when
    the request came.
    """
    return caller.reply or await replies.recall_name(caller.ticket)


async def reply_begun(replies: Replies, asked: Start) -> Reply | None:
    """Return the reply that a caller's ticket has begun by the same request; None if it has none.

    Raises `Unauthorized` when the ticket has another reply.
    """
    known = await _reply_of(replies, asked.caller)
    if known is None:
        return None
    reply = await replies.open(known, user=asked.caller.user)
    if reply.record.digest != digest(asked.prompt):
        raise Unauthorized(_USED, refused=True)
    return reply


def keyed_by_ticket(asked: Start) -> Start:
    """Return a request to start a reply under its own idempotency key, else under the ticket's.

    No client can send a key with a space.
    """
    if asked.key:
        return asked
    return replace(asked, key=asked.caller.ticket, digest=digest(asked.prompt))


async def check_ticket(replies: Replies, asked: Read | Stop) -> bool:
    """Return whether a caller's ticket has a reply already, which is then the one asked for.

    Raises `Unauthorized` unless the ticket is good for what is asked. Its reply may be stopped only
    over the connection over which the ticket has got it.
    """
    known = await _reply_of(replies, asked.caller)
    if isinstance(asked, Stop):
        if known != asked.reply_id or asked.caller.reply:
            raise Unauthorized("This ticket may not stop the reply.")
    elif known not in (None, asked.reply_id):
        raise Unauthorized(_USED, refused=True)
    return known is not None


async def bind(replies: Replies, ticket: str, reply: Reply) -> None:
    """Let a ticket be good for a reply from now on, and for no other.

    Raises `Unauthorized` when it has got another reply meanwhile, by a request at the same time.
    """
    known = await replies.remember_name(ticket, reply.id, only_new=True)
    if known not in (None, reply.id):
        raise Unauthorized(_USED, refused=True)


def add_tickets(app: web.Application) -> None:
    """Add the endpoint to an application."""
    app.router.add_post("/api/ticket", post_ticket)
