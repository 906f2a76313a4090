"""The transport `poll`: a reply by long polls (PROTOCOL.md section 2, `application/json`)."""

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
from chatsvc.client.wire import Question, broken_signal, refusal_signals, send_step

_SLACK_S = 10.0  # beyond the seconds that the server is asked to wait

_ENDED = {"stopped": "the reply was stopped", "failed": "the reply failed"}


async def read(
    session: aiohttp.ClientSession, question: Question, step: Step
) -> AsyncGenerator[Signal, None]:
    """Yield the signals of polls until the reply ends or one of them breaks."""
    wait = question.timeouts.poll
    while True:
        try:
            async with (
                asyncio.timeout(wait + _SLACK_S),
                send_step(
                    session, question, step, "application/json", wait=wait
                ) as response,
            ):
                if response.status != 200:
                    async for signal in refusal_signals(response):
                        yield signal
                    return
                raw = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            yield broken_signal(error)
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
    return Problem(0, _ENDED.get(state, f"the reply {state}"), str(reason))
