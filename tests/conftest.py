"""What every test may use."""

import importlib.util
import os
import shutil
import signal
from collections.abc import Iterator

import hypothesis
import pytest

from .redis_server import RedisServer

# A deadline would be a test of the machine's mood: speed is measured elsewhere.
hypothesis.settings.register_profile("chatsvc", deadline=None)
hypothesis.settings.load_profile("chatsvc")

# What a shell starts in the background ignores Ctrl-C, and so would the commands that are tested here.
signal.signal(signal.SIGINT, signal.default_int_handler)

THOROUGH = os.environ.get("CHATSVC_REQUIRE_ALL") == "1"
"""Whether everything must be there, and everything is to be tried, however long it takes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what takes long, so that the default run stays short."""
    if THOROUGH:
        return
    reason = "takes long; CHATSVC_REQUIRE_ALL=1 runs it"
    for item in items:
        if item.get_closest_marker("thorough") is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


def require(*programs: str) -> None:
    """Skip the test when a program is missing; fail instead where all must be there."""
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    reason = f"not on this machine: {', '.join(missing)}"
    if THOROUGH:
        pytest.fail(reason)
    pytest.skip(reason)


def require_module(name: str) -> None:
    """Skip the test when a Python package is missing; fail where all must be there."""
    if importlib.util.find_spec(name) is not None:
        return
    reason = f"not installed: {name}"
    if THOROUGH:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One for all tests that don't harm it; each kind of test has a database of its own."""
    require("redis-server")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()
