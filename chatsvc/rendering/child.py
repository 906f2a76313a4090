"""The child process of a renderer: renders one text after another, from stdin to stdout.

It speaks `chatsvc.rendering.frames`. It ends when stdin does, and so with its parent, however that
ends.
"""

from __future__ import annotations

import os
import sys
import time
from typing import BinaryIO

import msgspec

from chatsvc.rendering.block_messages import Asked
from chatsvc.rendering.blocks import render_blocks
from chatsvc.rendering.frames import HEAD, Kind, frame
from chatsvc.rendering.markdown import render

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

MEMORY_BYTES = 512 * 1024 * 1024
"""The address space that a child may have: five times what the largest reply takes."""

CPU_TIME_S = 10
"""Seconds of CPU after which the kernel ends a child that is stuck in one text: its parent, which
kills it long before, may be gone."""

NICENESS = 5
"""How much children leave to others where processors are short: streams come first."""


def serve(source: BinaryIO, target: BinaryIO) -> None:
    """Render what comes from `source` until that ends."""
    _send(target, Kind.READY, "")
    while len(head := source.read(HEAD.size)) == HEAD.size:
        size, kind = HEAD.unpack(head)
        _limit_cpu()
        try:
            text = source.read(size).decode()
            answer = _answer(kind, text)
        except Exception as error:  # noqa: BLE001  (any bug, or no more memory)
            _send(target, Kind.FAILED, type(error).__name__)
        else:
            _send(target, *answer)


def _answer(kind: int, text: str) -> tuple[Kind, str]:
    if kind in (Kind.COLOURED, Kind.UNCOLOURED):
        return Kind.HTML, render(text, colours=kind == Kind.COLOURED)
    started = time.process_time()
    asked = msgspec.json.decode(text, type=Asked)
    found = render_blocks(asked, colours=kind == Kind.BLOCKS)
    found.seconds = time.process_time() - started
    return Kind.ANSWERED, msgspec.json.encode(found).decode()


def _send(target: BinaryIO, kind: Kind, text: str) -> None:
    target.write(frame(kind, text))
    target.flush()


def _limit_cpu() -> None:
    if resource is not None:
        most = resource.getrlimit(resource.RLIMIT_CPU)[1]
        soon = int(time.process_time()) + CPU_TIME_S
        if most == resource.RLIM_INFINITY or soon < most:
            resource.setrlimit(resource.RLIMIT_CPU, (soon, most))


def _limit_memory() -> None:
    if resource is not None:
        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        if most == resource.RLIM_INFINITY or most > MEMORY_BYTES:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, most))


def main() -> None:
    """Serve stdin until it ends, with little memory and behind other processes."""
    _limit_memory()
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    serve(sys.stdin.buffer, sys.stdout.buffer)
