"""The transport `poll`: a reply by long polls (PROTOCOL.md section 2, `application/json`)."""

import asyncio
import json
from collections.abc import AsyncGenerator

import aiohttp

from chatsvc.client.events import FrameInterpreter, parse_end
from chatsvc.client.reading import Step
from chatsvc.client.signals import (
    Attached,
    Broken,
    LastSignal,
    Signal,
    TextReceived,
)
from chatsvc.client.wire import Question, broken_signal, refusal_signals, send_step

_SLACK_S = 10.0  # beyond the seconds that the server is asked to wait


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
            reply, state = str(snapshot["reply"]), str(snapshot["state"])
            if "events" in snapshot:
                found = _unit_signals(snapshot["events"])
                offset, position = int(str(snapshot["next"]).removeprefix("@")), 0
            else:
                offset, position = None, int(snapshot["next"])
                found = [TextReceived(position, str(snapshot["text"]))]
        except (ValueError, TypeError, KeyError):
            yield Broken("the answer can't be read")
            return
        yield Attached(reply)
        for signal in found:
            yield signal
            if isinstance(signal, LastSignal):
                return
        if state != "running":
            yield parse_end(snapshot)
            return
        step = Step("poll", reply, position, 0.0, offset)


def _unit_signals(events: list[object]) -> list[Signal]:
    """Return the signals of a snapshot's events, frames of `chatsvc.v2`."""
    frames = FrameInterpreter()
    return [signal for event in events for signal in frames.signals(json.dumps(event))]
