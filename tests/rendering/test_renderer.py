"""Renderings in processes of their own, in which no client stands in another's way."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from chatsvc.problems import Draining, Overloaded
from chatsvc.rendering.child import MEMORY_BYTES
from chatsvc.rendering.escaping import plain
from chatsvc.rendering.markdown import render
from chatsvc.rendering.renderer import Renderer

from ..service.running import eventually

FAKE = Path(__file__).parent / "fake_child.py"

if sys.platform != "win32":
    import resource


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The file in which a fake child writes what it is asked."""
    return tmp_path / "log"


@asynccontextmanager
async def rendering(log: Path | None = None, **options: Any) -> AsyncIterator[Renderer]:
    """A renderer, whose children are fakes if they have a log."""
    if log is not None:
        options["command"] = (sys.executable, str(FAKE), str(log))
    renderer = Renderer(**options)
    try:
        yield renderer
    finally:
        pids = renderer.pids()
        await renderer.close()
        assert renderer.pids() == []
        assert not any(map(alive, pids))


def alive(pid: int) -> bool:
    """Return whether there is a process, be it only a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def asked(log: Path) -> list[str]:
    """Return what fake children were asked, with the kind of each request."""
    return log.read_text().splitlines() if log.exists() else []


async def test_texts_are_rendered_in_children() -> None:
    async with rendering() as renderer:
        assert renderer.pids() == []  # until they are needed
        texts = ["# One", "", "```py\nx = 1\n```\n", "你 & ü\ud800" * 50_000]
        for text in texts[:3]:
            assert await renderer.render(text, "a") == render(text)
        assert "?" in await renderer.render(texts[3], "a")
        assert len(renderer.pids()) == 1
        one, other = await asyncio.gather(
            renderer.render("# a", "a"), renderer.render("# b", "b")
        )
        assert (one, other) == (render("# a"), render("# b"))
        assert len(renderer.pids()) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="the system can't be asked")
async def test_a_child_has_little_memory_and_leaves_the_processors_to_others() -> None:
    async with rendering() as renderer:
        await renderer.render("a", "a")
        [pid] = renderer.pids()
        assert resource.prlimit(pid, resource.RLIMIT_AS)[0] == MEMORY_BYTES
        assert resource.prlimit(pid, resource.RLIMIT_CPU)[0] < 60
        assert os.getpriority(os.PRIO_PROCESS, pid) > os.nice(0)
        # The largest and densest reply does not need a fifth of it.
        await renderer.render("- *a* `b`\n" * 26_000, "a")
        assert renderer.pids() == [pid]
        status = Path(f"/proc/{pid}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        assert peak < MEMORY_BYTES / 2


async def test_what_was_rendered_is_not_rendered_again(log: Path) -> None:
    async with rendering(log) as renderer:
        for text in ("x", "y", "x", "x"):
            await renderer.render(text, "a")
        assert asked(log) == ["COLOURED x", "COLOURED y"]
        for number in range(6):
            await renderer.render(f"{number}" * 1_000_000, "a")
        await renderer.render("x", "a")  # its place was needed
        assert asked(log)[-1] == "COLOURED x"


async def test_a_modest_client_does_not_wait_for_a_greedy_one(log: Path) -> None:
    async with rendering(log, processes=1) as renderer:
        greedy = [
            asyncio.create_task(renderer.render(f"slow {number}", "greedy"))
            for number in range(20)
        ]
        await eventually(lambda: len(asked(log)) == 3)
        await renderer.render("# hello", "modest")
        # One was running, and one may have had its turn.
        assert asked(log).index("COLOURED # hello") <= 5
        await asyncio.gather(*greedy)
        assert len(asked(log)) == 21


async def test_a_client_has_one_child_so_that_another_finds_one(log: Path) -> None:
    async with rendering(log, processes=2) as renderer:
        greedy = [
            asyncio.create_task(renderer.render(text, "greedy"))
            for text in ("hang", "slow 1", "slow 2")
        ]
        await eventually(lambda: asked(log) == ["COLOURED hang"])
        await renderer.render("# hello", "modest")
        assert asked(log) == ["COLOURED hang", "COLOURED # hello"]
        for task in greedy:
            task.cancel()


async def test_when_the_queue_is_full_the_greedy_are_refused(log: Path) -> None:
    async with rendering(log, processes=1, max_waiting=4) as renderer:
        greedy = [
            asyncio.create_task(renderer.render(f"slow {number}", "greedy"))
            for number in range(8)
        ]
        modest = asyncio.create_task(renderer.render("# hello", "modest"))
        results = await asyncio.gather(*greedy, return_exceptions=True)
        refused = [result for result in results if isinstance(result, Overloaded)]
        assert len(refused) == 4  # one ran, four waited, and one of them had to leave
        assert all(problem.retry_after == 1 for problem in refused)
        assert await modest == "<p># hello</p>"


async def test_a_client_that_leaves_takes_its_place_out_of_the_queue(log: Path) -> None:
    async with rendering(log, processes=1) as renderer:
        tasks = [
            asyncio.create_task(renderer.render(f"slow {number}", "a"))
            for number in range(10)
        ]
        await eventually(lambda: asked(log))
        for task in tasks[:-1]:  # the first one is being rendered
            task.cancel()
        assert await tasks[-1] == "<p>slow 9</p>"
        assert asked(log) == ["COLOURED slow 0", "COLOURED slow 9"]


async def test_the_place_of_a_client_that_leaves_is_free(log: Path) -> None:
    async with rendering(log, processes=1, max_waiting=2) as renderer:
        waiting = [
            asyncio.create_task(renderer.render(f"slow {number}", "a"))
            for number in range(3)
        ]
        await eventually(lambda: asked(log))
        waiting[1].cancel()
        waiting.append(asyncio.create_task(renderer.render("x", "a")))
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert not any(isinstance(result, Overloaded) for result in results)


@pytest.mark.parametrize("way", ["hang", "die"])
async def test_a_child_that_fails_is_replaced_and_tried_without_colours(
    way: str, log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Within the timeout a child must also start, which takes a while on a busy machine.
    timeout = 3.0 if way == "hang" else 60.0
    async with rendering(log, processes=1, timeout=timeout) as renderer:
        await renderer.render("x", "a")
        [first] = renderer.pids()
        assert (
            await renderer.render(f"{way} in colour", "a") == f"<p>{way} in colour</p>"
        )
        assert asked(log)[1:] == [
            f"COLOURED {way} in colour",
            f"UNCOLOURED {way} in colour",
        ]
        assert renderer.pids() != [first]
        assert not alive(first)
        # asyncio may add that somebody else has asked for the status of the child.
        lines = [each for each in caplog.records if each.name.startswith("chatsvc")]
        assert len(lines) == 1
        assert way not in caplog.text


@pytest.mark.parametrize("way", ["hang", "die", "fail", "die in the answer"])
async def test_what_can_not_be_rendered_is_plain_text(way: str, log: Path) -> None:
    async with rendering(log, processes=1, timeout=0.5) as renderer:
        assert await renderer.render(way, "a") == plain(way)
        assert len(asked(log)) == 2
        assert await renderer.render(way, "a") == plain(way)
        assert len(asked(log)) == 2
        assert await renderer.render("<b>", "a") == "<p><b></p>"


async def test_a_child_that_was_killed_while_idle_is_replaced(log: Path) -> None:
    async with rendering(log, processes=1) as renderer:
        await renderer.render("x", "a")
        [pid] = renderer.pids()
        os.kill(pid, signal.SIGKILL)
        assert await renderer.render("y", "a") == "<p>y</p>"
        assert renderer.pids() != [pid]


async def test_without_children_the_service_is_full(log: Path) -> None:
    broken = Path(f"{log}.broken")
    broken.touch()
    async with rendering(log) as renderer:
        with pytest.raises(Overloaded):
            await renderer.render("x", "a")
        broken.unlink()
        assert await renderer.render("x", "a") == "<p>x</p>"
    async with rendering(command=("/nonexistent",)) as renderer:
        with pytest.raises(Overloaded):
            await renderer.render("x", "a")


async def test_closing_ends_what_runs_and_what_waits(log: Path) -> None:
    async with rendering(log, processes=1) as renderer:
        tasks = [
            asyncio.create_task(renderer.render(text, "a")) for text in ("hang", "x")
        ]
        await eventually(lambda: asked(log))
        await renderer.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [Draining, Draining]
        with pytest.raises(Draining):
            await renderer.render("y", "a")


ORPHAN = """
import asyncio, os, signal, sys
from chatsvc.rendering.renderer import Renderer

async def main():
    renderer = Renderer()
    await asyncio.gather(renderer.render("a", "a"), renderer.render("b", "b"))
    print(*renderer.pids(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

{run}(main())
"""


@pytest.mark.parametrize("run", ["asyncio.run", "__import__('uvloop').run"])
async def test_no_child_survives_its_parent(run: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ORPHAN.format(run=run)), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    pids = [int(pid) for pid in out.split()]
    assert len(pids) == 2
    await eventually(lambda: not any(map(gone_or_zombie_alive, pids)))


def gone_or_zombie_alive(pid: int) -> bool:
    """Return whether a process runs; one that nobody has waited for does not."""
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    return False


def test_on_uvloop(log: Path) -> None:
    async def main() -> None:
        async with rendering(log, processes=1, timeout=0.5) as renderer:
            for text in ("x", "hang in colour", "die", "y"):
                await renderer.render(text, "a")
        async with rendering() as renderer:
            assert await renderer.render("# a", "a") == render("# a")

    uvloop.run(main())


async def longest_stall(meanwhile: Callable[[], Any]) -> float:
    """Return the longest time that the event loop was held while something ran (seconds)."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(meanwhile())
    longest, last = 0.0, loop.time()
    while not task.done():
        await asyncio.sleep(0.001)
        now = loop.time()
        longest, last = max(longest, now - last), now
    await task
    return longest


async def test_rendering_does_not_hold_the_event_loop() -> None:
    texts = [
        "|a" * 64 + "\n" + "|-" * 64 + "\n" + "|\n" * 4000 + str(i) for i in range(4)
    ]
    async with rendering() as renderer:
        await asyncio.gather(renderer.render("a", "a"), renderer.render("b", "b"))

        async def all_of_them() -> None:
            await asyncio.gather(
                *(renderer.render(text, str(i)) for i, text in enumerate(texts))
            )

        stall = await longest_stall(all_of_them)

    async def in_the_loop() -> None:
        for text in texts[:1]:
            render(text)

    # One of the four in the loop is the unit: they take none of it, at whatever load.
    assert stall < await longest_stall(in_the_loop) / 3
