"""Stalls of the event loop are counted, measured, and logged with what ran (README.md)."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from chatsvc.web import stalls

from .running import Inside, eventually, inside

SECRET = "a secret value"


def hold_the_loop(words: str, seconds: float) -> None:
    """Compute for a while."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        len(words)


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [
        record.__dict__["data"]
        for record in caplog.records
        if record.getMessage() == "the event loop was held"
    ]


async def hold(chat: Inside, seconds: float, times: int = 1) -> None:
    """Hold the loop, and let it turn once each time."""
    for _ in range(times):
        await asyncio.sleep(2 * stalls.BEAT_S)
        hold_the_loop(SECRET, seconds)
        await asyncio.sleep(2 * stalls.BEAT_S)


@pytest.mark.any_store
async def test_a_stall_is_logged_with_what_ran(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with inside() as chat:
        seconds = 5 * stalls.STALL_S
        await hold(chat, seconds)
        await eventually(lambda: logged(caplog))
        (told,) = (each for each in logged(caplog) if "hold_the_loop" in each["ran"])
        assert told["seconds"] >= seconds / 2
        assert told["ran"].startswith("service/test_stalls.py:hold_the_loop:")
        assert "service/test_stalls.py:hold:" in told["ran"]
        assert SECRET not in caplog.text
        metrics = await chat.metrics()
        assert metrics["chatsvc_loop_stalls_total"] >= 1
        assert metrics["chatsvc_loop_longest_stall_seconds"] >= seconds / 2
        # The gauge is that of the time since the last scrape.
        again = (await chat.metrics())["chatsvc_loop_longest_stall_seconds"]
        assert again < seconds / 2


@pytest.mark.any_store
async def test_many_stalls_are_counted_and_logged_once_a_second(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stalls, "LOG_INTERVAL_S", 1e9)
    async with inside() as chat:
        await hold(chat, 2 * stalls.STALL_S, times=4)
        assert (await chat.metrics())["chatsvc_loop_stalls_total"] >= 4
        assert len(logged(caplog)) == 1


@pytest.mark.any_store
async def test_a_loop_that_is_not_held_is_not_said_to_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stalls, "STALL_S", 2.0)  # other processes hold it as well
    async with inside() as chat:
        await asyncio.sleep(0.3)
        metrics = await chat.metrics()
        assert metrics["chatsvc_loop_stalls_total"] == 0
        assert metrics["chatsvc_loop_longest_stall_seconds"] < 2.0
