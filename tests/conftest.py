"""What every test may use."""

import os
import shutil

import pytest


def require(*programs: str) -> None:
    """Skip the test when a program is missing; fail instead where all must be there."""
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    reason = f"not on this machine: {', '.join(missing)}"
    if os.environ.get("CHATSVC_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
