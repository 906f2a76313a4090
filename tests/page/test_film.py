"""A reply's Markdown is right at every frame: no mark is seen that turns into something else, and nothing jumps."""

import json
import re
from collections.abc import Iterator

import pytest
from playwright.async_api import Browser

from .browsers import Everywhere, NewProfile
from .conftest import OpenPage, end_service, start_service
from .film import TEXTS, Film, filmed

pytestmark = pytest.mark.asyncio(loop_scope="session")

MARKS = re.compile(r"```|~~~|\*\*|(?<!a)\|(?!b)|\$\$|~~|\[x?\]|\]\(|&amp")
"""What is seen of Markdown that is shown too early. One of the tables has a bar in its text."""

MOST_SHIFT = 0.05
"""The layout shift of a reply from its first character to its end."""


@pytest.fixture(scope="module")
def filmed_service() -> Iterator[int]:
    """The port of a service that echoes some characters a frame."""
    process, port = start_service("--pace", "0.004")
    yield port
    end_service(process)


def judge(name: str, seen: Film) -> None:
    """Fail if a frame of a film shows what the next ones do not, or marks."""
    *frames, last = seen["film"]
    assert len(frames) > 5, name
    for frame in frames:
        assert not MARKS.search(frame), (name, frame[-80:])
        assert last.startswith(frame), (name, frame[-80:], last[: len(frame)][-80:])


@pytest.mark.thorough
async def test_every_frame_is_a_beginning_of_the_last_one(
    everywhere: Everywhere, filmed_service: int
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(f"http://127.0.0.1:{filmed_service}/")
        for name, text in TEXTS.items():
            judge(name, await filmed(page, text))

    await everywhere(scenario)


@pytest.mark.sampled
@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("width", [390, 1280])
async def test_nothing_jumps(
    chromium: Browser, filmed_service: int, open_page: OpenPage, name: str, width: int
) -> None:
    size = {"width": width, "height": 800}
    page = await open_page(
        chromium, f"http://127.0.0.1:{filmed_service}/", viewport=size
    )
    seen = await filmed(page, TEXTS[name])
    judge(name, seen)
    moved = sum(shift["value"] for shift in seen["shifts"])
    assert moved <= MOST_SHIFT, json.dumps(seen["shifts"], indent=1)
