"""Reads a reply by long polls (PROTOCOL.md section 2, `application/json`)."""

import asyncio
import json
from collections.abc import AsyncGenerator

import aiohttp

from chatsvc.client.reading import Step
from chatsvc.client.signals import (
    Attached,
    Broken,
    Ended,
    Problem,
    Signal,
    TextReceived,
)
from chatsvc.client.wire import Question, broken, refusal, send_step

_SLACK = 10.0  # seconds beyond what the server was asked to wait


async def read(
    session: aiohttp.ClientSession, question: Question, step: Step
) -> AsyncGenerator[Signal, None]:
    """Give the signals of polls until the reply ends or one of them breaks."""
    wait = question.patience.poll
    while True:
        try:
            async with (
                asyncio.timeout(wait + _SLACK),
                send_step(
                    session, question, step, "application/json", wait=wait
                ) as response,
            ):
                if response.status != 200:
                    async for signal in refusal(response):
                        yield signal
                    return
                raw = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            yield broken(error)
            return
        try:
            snapshot = json.loads(raw)
            reply, text = str(snapshot["reply"]), str(snapshot["text"])
            state, position = str(snapshot["state"]), int(snapshot["next"])
            reason = snapshot.get("finish_reason")
        except (ValueError, TypeError, KeyError):
            yield Broken("the answer can't be read")
            return
        yield Attached(reply)
        yield TextReceived(position, text)
        if state != "running":
            yield Ended(state, _problem(state, reason))
            return
        step = Step("poll", reply, position, 0.0)


def _problem(state: str, reason: object) -> Problem | None:
    if state == "done" or reason is None:
        return None
    return Problem(0, f"the reply {_SAYS.get(state, state)}", str(reason))


_SAYS = {"stopped": "was stopped", "failed": "failed"}
