"""Measurements of the page: accessibility, Lighthouse's scores, and the time that a frame takes."""

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from tests.conftest import THOROUGH

from . import driving
from .browsers import CHROMIUM_FLAGS
from .conftest import OpenPage, Watched, end_service, start_service
from .film import TEXTS

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.thorough]

LONGEST_FRAME_MS = 50
"""The most of the page's own work in one frame."""
TRIES = 5
"""How often a reply may have a task that is too long, until it counts."""
SLOWER = 6
"""The factor by which a slow machine is slower than this one."""
FEWER = 1 / 2
"""The part of its frames that such a machine still shows."""
YARDSTICK = 600
"""The repetitions of a short text that make its layout take `LONGEST_FRAME_MS`."""

LONG_CONVERSATION = {
    "id": "c",
    "entries": [
        {"role": "user", "id": "m", "text": "long"},
        {
            "role": "assistant",
            "id": "r",
            "reply": None,
            "key": "k",
            "body": None,
            "position": 100_002,
            "state": "done",
            "stopping": False,
            "problem": None,
            "html": None,
            "switches": [],
            "text": "长字 and words.\n" * 7143,
        },
    ],
}


def stored(url: str, conversation: object) -> dict[str, object]:
    """Return the storage state of a browser that keeps a conversation."""
    item = {"name": "chatsvc:/:conversation", "value": json.dumps(conversation)}
    return {"cookies": [], "origins": [{"origin": url, "localStorage": [item]}]}


async def test_axe_finds_nothing(
    chromium: Browser, service: int, open_page: OpenPage, npm: Path
) -> None:
    axe = (npm / "axe-core" / "axe.min.js").read_text()
    url = f"http://127.0.0.1:{service}/"
    for scheme, locale, width in [("light", "en", 1280), ("dark", "zh-CN", 390)]:
        page = await open_page(
            chromium,
            url,
            color_scheme=scheme,
            locale=locale,
            viewport={"width": width, "height": 800},
        )
        watched = Watched(page)
        await page.evaluate(axe)
        for _ in range(2):
            found = await page.evaluate("axe.run().then(({violations}) => violations)")
            assert found == [], json.dumps(found, indent=1)[:3000]
            await driving.send(page)
            await driving.state(page, "done")
        assert watched.messages == []


async def lighthouse(service: int, npm: Path, report: Path) -> tuple[int, str]:
    """Write Lighthouse's report, and return its exit status and its messages about errors."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(npm / "lighthouse" / "cli" / "index.js"),
        f"http://127.0.0.1:{service}/",
        "--quiet",
        "--output=json",
        f"--output-path={report}",
        "--only-categories=performance,accessibility,best-practices",
        f"--chrome-flags=--headless {' '.join(CHROMIUM_FLAGS)}",
        env={**os.environ, "CHROME_PATH": shutil.which("chromium") or ""},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    return process.returncode or 0, errors.decode()


@pytest.mark.skipif(not THOROUGH, reason="takes 15 s: CHATSVC_REQUIRE_ALL=1 runs it")
async def test_lighthouse_gives_95_and_more(
    service: int, npm: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    status, errors = await lighthouse(service, npm, report)
    for _ in range(2):
        if not (status and "Please run Lighthouse again" in errors):
            break
        # Its trace began too late, and it knows.
        status, errors = await lighthouse(service, npm, report)
    assert status == 0, errors[-2000:]
    found = json.loads(report.read_text())
    marks = {name: x["score"] for name, x in found["categories"].items()}
    poor = {
        name: audit["title"]
        for name, audit in found["audits"].items()
        if audit["score"] is not None and audit["score"] < 0.9
    }
    assert all(mark >= 0.95 for mark in marks.values()), (marks, poor)


@pytest.fixture(scope="module")
def faster_service() -> Iterator[int]:
    """The port of a service so fast that each frame gets as much as a slow machine's."""
    process, port = start_service("--pace", str(0.001 * FEWER))
    yield port
    end_service(process)


async def tasks(
    browser: Browser, page: Page, act: Callable[[], Awaitable[object]]
) -> list[float]:
    """The milliseconds that each task of the page's main thread takes on a slow machine.

    It is the thread's own processor time: a busy machine makes a task wait, not work. To
    slow the processor down would spoil just that, so the time is multiplied instead.
    """
    categories = ["devtools.timeline", "disabled-by-default-devtools.timeline"]
    await browser.start_tracing(page=page, categories=categories)
    await act()
    events = json.loads(await browser.stop_tracing())["traceEvents"]
    frames = [event for event in events if event["name"] == "FireAnimationFrame"]
    assert len(frames) > 20
    main = {(event["pid"], event["tid"]) for event in frames}
    assert len(main) == 1
    return [
        min(event["tdur"], event["dur"]) / 1000 * SLOWER
        for event in events
        if event["name"] == "RunTask"
        and (event["pid"], event["tid"]) in main
        # A task that runs when the recording ends is not whole.
        and "tdur" in event
    ]


LAY_OUT = """async (text) => {
  const box = document.createElement('div');
  box.className = 'text';
  document.querySelector('#log').append(box);
  for (let i = 0; i < 25; i++) {
    await new Promise(requestAnimationFrame);
    box.textContent = text + i;
    document.body.offsetHeight;
  }
  box.remove();
}"""


async def longest_frame(browser: Browser, page: Page) -> float:
    """What `LONGEST_FRAME_MS` comes to on this machine, as it is now.

    Where many programs share a processor, all of them take more of its time. So a frame is
    measured by its like, laying out a text, which takes that long on a quiet machine.
    """
    text = "长字 and words. " * YARDSTICK
    times = await tasks(browser, page, lambda: page.evaluate(LAY_OUT, text))
    return max(LONGEST_FRAME_MS, sorted(times)[-12])


async def too_long(
    browser: Browser, page: Page, act: Callable[[], Awaitable[object]]
) -> list[float]:
    """The tasks that take longer than a frame may, in each of some tries.

    What the page does itself takes that long each time; what a busy machine adds to one
    task, it doesn't add again. Nor does the browser always run a key and the frame behind
    it as one task.
    """
    for _ in range(TRIES):
        before = await longest_frame(browser, page)
        times = await tasks(browser, page, act)
        limit = max(before, await longest_frame(browser, page))
        found = [time for time in times if time >= limit]
        if not found:
            break
    return found


WRITTEN = {
    "lines": "一二三四五六七八九十 and so on.\n" * 120,
    "Markdown": "\n".join(TEXTS.values()),
}
"""Messages that come back as replies, by what they are."""


@pytest.mark.parametrize("kind", WRITTEN)
async def test_frames_stay_short_on_a_slow_machine(
    chromium: Browser, faster_service: int, open_page: OpenPage, kind: str
) -> None:
    """From the key that sends a message to the reply's end, after 100,000 characters.

    As many characters come in a frame as on a slow machine, which has fewer frames.
    """
    url = f"http://127.0.0.1:{faster_service}"
    page = await open_page(chromium, url, storage_state=stored(url, LONG_CONVERSATION))
    assert len(await driving.text(page)) > 100_000
    await page.evaluate(
        """() => {
          const ended = () => document.querySelectorAll('article[data-state=done]').length;
          let before = ended();
          new MutationObserver(() => {
            if (ended() === before) return;
            before = ended();
            console.log('over');
          }).observe(document.querySelector('#log'), {subtree: true, attributes: true});
        }"""
    )

    async def send() -> None:
        await page.evaluate(
            """text => {
              const field = document.querySelector('#message');
              field.value = text;
              field.dispatchEvent(new Event('input'));
              field.focus();
            }""",
            WRITTEN[kind],
        )
        # To ask the page whether it is over would be work of its own.
        async with page.expect_console_message() as said:
            await page.keyboard.press("Enter")
        assert (await said.value).text == "over"

    assert await too_long(chromium, page, send) == []


async def test_one_update_a_frame_however_fast_it_comes(
    chromium: Browser, fast_service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{fast_service}/")
    await page.evaluate(
        "window.updates = 0; window.frames_ = 0;"
        "new MutationObserver((records) => { if (records.some(({target}) =>"
        " target.parentElement?.closest('.reply .text'))) updates++; })"
        ".observe(document.querySelector('#log'),"
        " {childList: true, characterData: true, subtree: true});"
        "(function count() { frames_++; requestAnimationFrame(count); })()"
    )
    message = "quick brown fox " * 60
    await driving.send(page, message)
    await driving.state(page, "done")
    assert await driving.text(page) == message
    updates, frames = await page.evaluate("[updates, frames_]")
    assert 5 < updates <= frames


PREPARE = """async words => {
  const main = document.querySelector('script[src]').getAttribute('src');
  const {GrowingText} = await import('/' + main.replace('main.js', 'growing-text.js'));
  document.body.classList.remove('empty');
  const reply = document.querySelector('#reply-template').content.cloneNode(true);
  document.querySelector('#log').replaceChildren(reply);
  const element = document.querySelector('article .text');
  const growing = new GrowingText(element);
  const line = words.repeat(100000 / words.length + 1).slice(0, 100000);
  let at = 0;
  window.grow = async (by, step) => {
    for (const to = at + by; at < to; at += step) {
      await new Promise(requestAnimationFrame);
      growing.append(line.slice(at, at + step));
      document.body.offsetHeight;
    }
  };
  window.looks = () => {
    const plain = element.cloneNode();
    plain.textContent = line.slice(0, at);
    element.after(plain);
    const heights = [element.offsetHeight, plain.offsetHeight];
    plain.remove();
    return [element.textContent === line.slice(0, at), ...heights];
  };
}"""


@pytest.mark.parametrize(
    "words", ["quick brown 狐狸跳过 👩‍👩‍👧‍👦 ", "שלום עולם and 123 عربي, "]
)
async def test_a_line_without_end_grows_as_fast(
    chromium: Browser, fast_service: int, open_page: OpenPage, words: str
) -> None:
    """After nearly 100,000 characters of it, and it looks as if it were one piece."""
    page = await open_page(chromium, f"http://127.0.0.1:{fast_service}/")
    watched = Watched(page)
    await page.evaluate(PREPARE, words)
    await page.evaluate("grow(93_000, 3000)")
    # To break the last of those large steps takes longer than any that comes after it.
    await page.evaluate("grow(2000, 50)")
    grow = "grow(4000, 50)"
    assert await too_long(chromium, page, lambda: page.evaluate(grow)) == []
    assert await page.locator(".text > div").count() > 20
    exact, height, plain = await page.evaluate("looks()")
    assert exact and height == plain
    await page.set_viewport_size({"width": 500, "height": 700})
    await page.wait_for_function(
        "() => document.querySelectorAll('.text > div').length == 1"
    )
    exact, height, plain = await page.evaluate("looks()")
    assert exact and height == plain
    assert watched.messages == []
