"""The bodies of requests: what they may be, how long they may take and how large they may be."""

from __future__ import annotations

import asyncio

from aiohttp import StreamReader, web

from chatsvc.problems import BadRequest, TooLarge, UnsupportedMediaType
from chatsvc.web.app_keys import service
from chatsvc.web.memory import MEMORY, MemoryWatch

JSON = "application/json"
"""The media type of a reply that is given whole or as a snapshot, and of the bodies of requests."""

FORM = "application/x-www-form-urlencoded"
"""The media type of what a page's form sends."""

BODY_DEADLINE_S = 30.0
"""Seconds in which a body must arrive."""


async def read_body(request: web.Request, max_bytes: int) -> bytes:
    """Return the body, which must be JSON by its headers, of at most `max_bytes`.

    Raises `UnsupportedMediaType`, `TooLarge`, and `BadRequest` for one that has not arrived in
    `BODY_DEADLINE_S`. Raises `Overloaded` when there is no memory left, also while it arrives.
    """
    if request.content_type != JSON:
        raise UnsupportedMediaType(
            f"The body must be JSON, with Content-Type: {JSON}, not {request.content_type}."
        )
    charset = (request.charset or "utf-8").lower()
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType(f"The body must be UTF-8, not {charset}.")
    return await _read_whole(request, max_bytes)


async def read_form(request: web.Request, max_bytes: int) -> bytes:
    """Return the body, which must be a form of a page's by its headers, of at most `max_bytes`.

    Raises as `read_body`.
    """
    if request.content_type != FORM:
        raise UnsupportedMediaType(
            f"The body must be a form, with Content-Type: {FORM}."
        )
    return await _read_whole(request, max_bytes)


async def _read_whole(request: web.Request, max_bytes: int) -> bytes:
    """Return the body. Raises `TooLarge`, and `BadRequest` after `BODY_DEADLINE_S`."""
    if (request.content_length or 0) > max_bytes:
        raise TooLarge(f"A body may have {max_bytes} bytes.")
    memory = service(request)[MEMORY]
    memory.budget.check()
    if request.content.is_eof():  # it came with the head, as most do
        body = request.content.read_nowait()
    else:
        body = await _read_arriving(request.content, max_bytes, memory)
    if len(body) > max_bytes:
        raise TooLarge(f"A body may have {max_bytes} bytes.")
    return body


async def _read_arriving(
    content: StreamReader, max_bytes: int, memory: MemoryWatch
) -> bytes:
    """Return a body once it is whole; or, as soon as it has more than `max_bytes`, what there is.

    It counts in `memory` while it arrives. Raises `BadRequest` after `BODY_DEADLINE_S`, and
    `Overloaded`.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            async for piece in content.iter_any():
                body += piece
                memory.bodies += len(piece)
                memory.budget.check()
                if len(body) > max_bytes:
                    break
    except TimeoutError:
        raise BadRequest(
            f"The body did not arrive in {BODY_DEADLINE_S:g} s.", status=408
        ) from None
    finally:
        memory.bodies -= len(body)
    return bytes(body)
