"""The parts of a reply become a client's events in linear time, however many there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.replies import PartItem
from chatsvc.replies.calls import joined_members
from chatsvc.transports.completion import WholeCompletion
from chatsvc.transports.deltas import Deltas, ToolOffer
from chatsvc.transports.ui_parts import UIParts
from chatsvc.units import Close, Mark, Unit

from .linear import Work, assert_linear
from .test_openai_deltas import reply_of


def calls(count: int) -> list[Unit]:
    """Calls of which all but the last have a result, once all have begun."""
    units: list[Unit] = []
    for number in range(1, count + 1):
        members = {"id": f"call_{number}", "name": "look"}
        units += [Mark(number, "tool_call", members), Close(number)]
    for number in range(1, count):
        result = {"id": f"call_{number}", "result": 1}
        units.append(Mark(count + number, "tool_result", result, whole=True))
        units.append(Mark(2 * count + number, "reasoning"))
        units.append(Close(2 * count + number))
    return units


def probabilities(count: int) -> list[Unit]:
    """What a model says of each token's probability."""
    value = {"logprobs": {"content": [{"token": "a", "logprob": -1.0}]}}
    members = {"value": value, "at": "choice"}
    return [Mark(number, "extra", members, whole=True) for number in range(count)]


def items(units: list[Unit]) -> list[PartItem]:
    return [PartItem(offset, unit) for offset, unit in enumerate(units, 1)]


def page(units: list[Unit]) -> Work:
    known = [f"earlier_{number}" for number in range(len(units))]
    return lambda: UIParts((), known).events(items(units))


def stream(units: list[Unit]) -> Work:
    log = Log("r" * 22)
    return lambda: Deltas(log, ToolOffer()).feed(items(units))


def whole(units: list[Unit]) -> Work:
    log = Log("r" * 22)
    log.finish(End("done", "stop"), 0)

    def work() -> dict[str, Any]:
        made = WholeCompletion(reply_of(log), "m", ToolOffer())
        made.add(items(units))
        return made.body()

    return work


@pytest.mark.parametrize("units", [calls, probabilities])
@pytest.mark.parametrize("work", [page, stream, whole])
async def test_parts_take_linear_time(
    work: Callable[[list[Unit]], Work], units: Callable[[int], list[Unit]]
) -> None:
    assert_linear(lambda length: work(units(length)))


def test_members_are_joined_in_linear_time() -> None:
    piece = {"a": "text", "b": [1], "c": {"d": "text", "e": [None]}}
    assert_linear(lambda length: lambda: joined_members([piece] * length))
