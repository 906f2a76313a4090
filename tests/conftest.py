"""Fixtures and functions for all tests."""

import importlib.util
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from .old_version import PREVIOUS, unpack
from .redis_server import RedisServer, running_redis

# A shell has programs in the background ignore SIGINT, and the commands under test inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The tests start hundreds of processes. Without bytecode files each would compile chatsvc anew,
# which takes as long again as its start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# These are variables of the tests. The command would take them for mistyped ones of its own.
TEST_CACHE = os.environ.pop("CHATSVC_TEST_CACHE", None)
"""The folder for what tests download, if the environment names one."""

THOROUGH = os.environ.pop("CHATSVC_REQUIRE_ALL", None) == "1"
"""Whether slow tests run too, and a missing program fails a test instead of skipping it."""

# On a loaded machine a deadline fails at random. Speed is measured by tests/bench.
hypothesis.settings.register_profile(
    "chatsvc", deadline=None, max_examples=100 if THOROUGH else 25
)
hypothesis.settings.load_profile("chatsvc")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what takes long unless `THOROUGH`, so that the default run stays short.

    These are the tests marked `thorough`, and of those marked `sampled` every case but the first.
    """
    if THOROUGH:
        return
    skip = pytest.mark.skip(reason="takes long; CHATSVC_REQUIRE_ALL=1 runs it")
    sampled: set[str] = set()
    for item in items:
        test = item.nodeid.partition("[")[0]
        if item.get_closest_marker("thorough") is not None or test in sampled:
            item.add_marker(skip)
        elif item.get_closest_marker("sampled") is not None:
            sampled.add(test)


def require(*programs: str) -> None:
    """Skip the test when a program is missing; fail it instead if `THOROUGH`."""
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    reason = f"not on this machine: {', '.join(missing)}"
    if THOROUGH:
        pytest.fail(reason)
    pytest.skip(reason)


def require_module(name: str) -> None:
    """Skip the test when a Python package is missing; fail it instead if `THOROUGH`."""
    if importlib.util.find_spec(name) is not None:
        return
    reason = f"not installed: {name}"
    if THOROUGH:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The Redis of all tests that don't harm it; each kind of test uses its own database number."""
    require("redis-server")
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def old_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the code of the version that knows no parts."""
    root = tmp_path_factory.mktemp("old")
    unpack(root)
    return root


@pytest.fixture(scope="session")
def previous_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the code of the version before this one."""
    root = tmp_path_factory.mktemp("previous")
    unpack(root, PREVIOUS)
    return root
