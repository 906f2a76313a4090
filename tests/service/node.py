"""Clients of the npm registry, in a folder of their own outside of the checkout."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from ..conftest import THOROUGH, require

SCRIPTS = Path(__file__).parent.parent / "node"


def installed(asked: str = "package.json") -> Path:
    """The folder whose `node_modules` has what a file in `tests/node` asks for; installed once for each version of that.

    Without npm or its registry the test is skipped, or fails where all must be there.
    """
    require("node", "npm")
    wanted = (SCRIPTS / asked).read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "chatsvc-tests" / hashlib.sha256(wanted).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            (folder / "package.json").write_bytes(wanted)
            npm = subprocess.run(
                [
                    *("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"),
                    # Without a registry there is no use in waiting for it.
                    *("--fetch-retries=1", "--fetch-retry-mintimeout=1000"),
                ],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            if npm.returncode:
                reason = f"npm could not install the clients: {npm.stderr[-300:]}"
                if THOROUGH:
                    pytest.fail(reason)
                pytest.skip(reason)
            (folder / "complete").touch()
    return folder


async def run(folder: Path, script: str, *arguments: str) -> Any:
    """Run one of the scripts beside `node_modules`; what it prints, from JSON."""
    with tempfile.TemporaryDirectory(dir=folder) as beside:
        shutil.copy(SCRIPTS / script, beside)
        process = await asyncio.create_subprocess_exec(
            "node",
            script,
            *arguments,
            cwd=beside,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, errors = await asyncio.wait_for(process.communicate(), 60)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0, errors.decode()
    return json.loads(out)
