"""The process of the attackers: `python -m tests.attack.attackers PORT SECONDS [NAME …]`.

It prints `ready`, attacks until its standard input ends or the seconds are over, and prints in JSON
what came back for each attack.
"""

import asyncio
import json
import sys
from collections.abc import Coroutine
from typing import Any

from .appetites import APPETITES
from .attacks import ATTACKS, Attack
from .target import Target

KNOWN = {**ATTACKS, **APPETITES}
"""All that can be asked for; without names, it is `ATTACKS`."""

ROUND_S = 30.0
"""How long one round of an attack may take."""


async def _repeat(attack: Attack, target: Target, first: int) -> None:
    number = first
    await asyncio.sleep(attack.every_s * first / attack.at_once)
    while True:
        try:
            async with asyncio.timeout(ROUND_S):
                await attack.once(target, number)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            target.seen[type(error).__name__] += 1
        number += attack.at_once
        await asyncio.sleep(attack.every_s)


async def _main(port: int, seconds: float, names: list[str]) -> None:
    targets = {
        name: Target(port, f"127.0.1.{index + 1}")
        for index, name in enumerate(names or ATTACKS)
    }
    rounds: list[Coroutine[Any, Any, None]] = [
        _repeat(KNOWN[name], target, first)
        for name, target in targets.items()
        for first in range(KNOWN[name].at_once)
    ]
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    over = asyncio.create_task(ended.wait())
    tasks = [asyncio.create_task(each) for each in rounds]
    await asyncio.wait([over, *tasks], timeout=seconds, return_when="FIRST_COMPLETED")
    failed = [task.exception() for task in tasks if task.done()]
    for task in (over, *tasks):
        task.cancel()
    await asyncio.gather(over, *tasks, return_exceptions=True)
    print(
        json.dumps({name: target.seen for name, target in targets.items()}), flush=True
    )
    for error in failed:
        raise error or AssertionError("an attack ended by itself")


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
