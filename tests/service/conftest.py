"""The services of these tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from chatsvc.settings import Settings

from .running import Inside, inside


@pytest.fixture
async def chat() -> AsyncIterator[Inside]:
    """An echo as fast as it can be."""
    async with inside(Settings(pace=0)) as service:
        yield service
