"""The code of earlier versions, out of the clone's history."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

COMMIT = "b019ecf"
"""The commit of a version that knows no parts."""

PREVIOUS = "a55fd24"
"""The last commit of version 0.1, the one before this."""

_BACKENDS = '''
import asyncio

async def answer(messages):
    """Word by word, each with a space behind it."""
    for word in messages[-1]["content"].split(" "):
        yield word + " "
        await asyncio.sleep(0.05)

async def pieces(messages):
    """Four code points at a time."""
    text = messages[-1]["content"]
    for begin in range(0, len(text), 4):
        yield text[begin : begin + 4]
        await asyncio.sleep(0.05)
'''


def unpack(root: Path, commit: str = COMMIT) -> None:
    """Put a version's code into a folder, and beside it `repeating`, a module of backends.

    A clone without its history is no fault: the test is skipped.
    """
    words = ["git", "-C", str(Path(__file__).parents[1]), "archive", commit]
    words += ["chatsvc", "static", "templates"]
    try:
        done = subprocess.run(words, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no git on this machine")
    if done.returncode:
        pytest.skip(f"this clone does not have the commit {commit}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(root, filter="data")
    (root / "repeating.py").write_text(_BACKENDS)
