"""Reading: where the text stands while it grows, and what it looks like on screens and on paper."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, async_playwright
from playwright.async_api import Page as PlaywrightPage

from tests.conftest import require

from . import driving
from .browsers import Everywhere, NewProfile, Page
from .conftest import OpenPage, Watched
from .driving import LAST
from .test_quality import stored

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.thorough]

WRITTEN = """# 标题 and a heading

Some **words** with `code`, a [link](https://example.com/) and a_very_long_word_LONG_WORD.

- one
- שתיים
  - nested
    1. deeper
  - [x] done

> A quotation.

| Name | Number | What it is for, in many words | Another | One more |
|---|---:|---|---|---|
| alpha | 1 | something long enough to be wide | second_column_with_a_long_word | the end |

| a | b |
|---|---|
| 1 | 2 |

```python
x = 1  # LONG_LINE
```

```
short
```

$$LONG_SUM$$
"""
for name, long in [
    ("LONG_WORD", "x" * 300),
    ("LONG_LINE", "a long line " * 30),
    ("LONG_SUM", "+".join(f"a_{{{n}}}" for n in range(99))),
]:
    WRITTEN = WRITTEN.replace(name, long)
"""Markdown with blocks of each kind, wide ones and narrow ones."""

PHONE: dict[str, Any] = {
    "viewport": {"width": 320, "height": 568},
    "has_touch": True,
    "is_mobile": True,
}


async def written(page: Page, text: str = WRITTEN) -> None:
    """Have a reply with all kinds of blocks, rendered to its end."""
    await driving.send(page, text)
    await driving.there(page, f"{LAST}[data-state=done] .rendered > :last-child")
    await page.wait_for_function(
        "last => document.querySelector(last + ' .text').hidden", arg=LAST
    )


# ---------------------------------------------------------------------- the reader's place

PLACE = """() => {
  const scroller = document.querySelector('#scroller');
  const top = scroller.getBoundingClientRect().top;
  const question = [...document.querySelectorAll('.message')].at(-1).getBoundingClientRect();
  return {
    top: Math.round(question.top - top),
    bottom: (question.bottom - top) / scroller.clientHeight,
    scrollTop: scroller.scrollTop,
    left: scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight,
  };
}"""
"""A function that returns where the last question is, and how far the view is from the end."""

FOLLOWS = f"() => ({PLACE})().left < 2 && document.querySelector('#to-end').hidden"


async def test_a_question_goes_to_the_top_and_nothing_moves_by_itself(
    everywhere: Everywhere, service: int
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(f"http://127.0.0.1:{service}/")
        await driving.send(page, "first\n" * 12)
        await driving.state(page, "done")
        await driving.send(page, "line\n" * 70)
        # That of the question is higher than a part of the view, so its end is what is seen.
        asked = await page.evaluate(PLACE)
        assert 0.3 < asked["bottom"] < 0.5 and asked["scrollTop"] > 0
        await driving.grown(page, 200)
        await driving.there(page, "#to-end:not([hidden])")
        grown = await page.evaluate(PLACE)
        assert grown.pop("left") > asked.pop("left")
        # What is above may have been rendered since: then the view goes along.
        assert grown.pop("scrollTop") and asked.pop("scrollTop")
        assert grown == asked
        await page.click("#to-end")
        await page.wait_for_function(FOLLOWS)
        await driving.grown(page, 300)
        await page.wait_for_function(FOLLOWS)
        # Who scrolls away stays there.
        await page.evaluate("document.querySelector('#scroller').scrollTo(0, 0)")
        await driving.there(page, "#to-end:not([hidden])")
        await driving.state(page, "done")
        assert (await page.evaluate(PLACE))["scrollTop"] == 0
        await driving.send(page, "short")
        assert (await page.evaluate(PLACE))["top"] == 24
        await driving.state(page, "done")
        assert (await page.evaluate(PLACE))["top"] == 24
        await page.wait_for_function("() => document.querySelector('#to-end').hidden")
        # Another attempt begins where the first did.
        await page.evaluate("document.querySelector('#scroller').scrollTo(0, 0)")
        await page.click(f"{LAST} .retry")
        await page.wait_for_function(f"() => ({PLACE})().top === 24")
        await driving.state(page, "done")
        assert (await page.evaluate(PLACE))["top"] == 24

    await everywhere(scenario)


async def test_a_page_that_is_loaded_shows_the_end_and_one_with_a_running_reply_its_question(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{service}/")
    await driving.send(page, "line\n" * 70)
    await driving.grown(page, 50)
    await page.reload()
    await driving.grown(page, 200)
    asked = await page.evaluate(PLACE)
    assert 0.3 < asked["bottom"] < 0.5
    await driving.state(page, "done")
    assert (await page.evaluate(PLACE))["scrollTop"] == asked["scrollTop"]
    await page.reload()
    await page.wait_for_function(FOLLOWS)
    # A screen keyboard takes the lower half; the end is not behind it.
    await page.set_viewport_size({"width": 1280, "height": 400})
    await page.wait_for_function(FOLLOWS)


def conversation(turns: int) -> dict[str, Any]:
    """Return a conversation that ended, as a browser keeps it."""
    kept: dict[str, Any] = {
        "reply": None,
        "key": "k",
        "body": None,
        "state": "done",
        "stopping": False,
        "problem": None,
        "html": None,
        "switches": [],
    }
    entries: list[dict[str, Any]] = []
    for turn in range(turns):
        text = f"reply {turn}\n" * (turn % 7 + 1)
        entries += [
            {"role": "user", "id": f"m{turn}", "text": f"question {turn}"},
            kept
            | {
                "role": "assistant",
                "id": f"r{turn}",
                "text": text,
                "position": len(text),
            },
        ]
    return {"id": "c", "entries": entries}


async def test_old_turns_are_laid_out_when_they_are_read_and_move_nothing(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    url = f"http://127.0.0.1:{service}"
    page = await open_page(chromium, url, storage_state=stored(url, conversation(60)))
    skipped = (
        "() => [...document.querySelectorAll('article')].filter((article) =>"
        " !article.firstElementChild.checkVisibility({contentVisibilityAuto: true})"
        ").length"
    )
    assert await page.evaluate(skipped) > 60
    await page.hover("#log")
    for _ in range(20):
        # The text in the middle moves as far as the wheel says, whatever is laid out above it.
        moved = await page.evaluate(
            """async () => {
              const {top, height} = document.querySelector('#scroller').getBoundingClientRect();
              const found = document.elementFromPoint(640, top + height / 2).closest('article')
                ?? document.querySelector('article:last-child');
              const before = found.getBoundingClientRect().top;
              const frame = () => new Promise(requestAnimationFrame);
              document.querySelector('#scroller').scrollBy(0, -300);
              await frame(); await frame(); await frame();
              return found.getBoundingClientRect().top - before;
            }"""
        )
        if (await page.evaluate(PLACE))["scrollTop"] == 0:
            break
        assert moved == pytest.approx(300, abs=2)
    await page.keyboard.press("Control+f")
    await page.emulate_media(media="print")
    await page.wait_for_function(f"() => ({skipped})() === 0")


# ---------------------------------------------------------------------- blocks


async def test_code_has_its_language_can_be_wrapped_and_is_copied(
    chromium: Browser, fast_service: int, open_page: OpenPage
) -> None:
    page = await open_page(
        chromium,
        f"http://127.0.0.1:{fast_service}/",
        permissions=["clipboard-read", "clipboard-write"],
    )
    watched = Watched(page)
    await written(page)
    code = page.locator(f"{LAST} .code").first
    plain = page.locator(f"{LAST} .code").last
    assert await code.locator(".language").inner_text() == "python"
    assert await plain.locator(".language").inner_text() == "Code"
    wrap = code.get_by_role("button", name="Wrap long lines")
    height = "element => element.offsetHeight"
    before = await code.evaluate(height)
    await wrap.click()
    assert await code.evaluate(height) > before
    assert await code.locator("pre").evaluate("e => e.scrollWidth <= e.clientWidth")
    assert await wrap.get_attribute("aria-pressed") == "true"
    await wrap.click()
    assert await code.evaluate(height) == before
    assert not await plain.locator(".wrap").is_visible()
    read = "navigator.clipboard.readText()"
    await plain.get_by_role("button", name="Copy the code").click()
    await page.wait_for_function(
        "() => document.querySelector('#said').textContent === 'Copied'"
    )
    assert await page.evaluate(read) == "short\n"
    await page.get_by_role("button", name="Copy the reply").click()
    await page.wait_for_selector(f"{LAST} .actions .copy[data-outcome=copied]")
    assert await page.evaluate(read) == WRITTEN
    await page.wait_for_selector(f"{LAST} .actions .copy:not([data-outcome])")
    # A browser that refuses: the button says what to do instead.
    await page.evaluate(
        "() => { navigator.clipboard.writeText = () => Promise.reject(Error()); }"
    )
    await page.get_by_role("button", name="Copy the reply").click()
    await page.wait_for_selector(
        f"{LAST} .actions .copy[data-says='Select the text to copy it']"
    )
    assert watched.messages == []


STOPS = """last => [...document.querySelectorAll(`${last} :is(pre, .wide, .formula)`)]
  .map((box) => [
    box.scrollWidth > box.clientWidth + 1,
    box.tabIndex === 0,
    Boolean(box.ariaLabel),
    box.scrollWidth <= box.clientWidth + 1 || getComputedStyle(box).overflowX === 'auto',
  ])"""
"""A function that returns of each box: whether it scrolls, is a tab stop, has a name, and shows all it has."""


async def test_what_scrolls_is_a_tab_stop_and_nothing_else_is(
    everywhere: Everywhere, fast_service: int
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(f"http://127.0.0.1:{fast_service}/")
        await written(page)
        await page.evaluate("document.querySelector('#log').style.maxWidth = '300px'")
        marked = (
            f"() => ({STOPS})('{LAST}').every(([scrolls, stop]) => scrolls === stop)"
        )
        await page.wait_for_function(marked)
        boxes = await page.evaluate(STOPS, LAST)
        assert [scrolls for scrolls, *_ in boxes] == [True, False, True, False, True]
        assert all(stop == named and whole for _, stop, named, whole in boxes)
        await page.evaluate("document.querySelector('#log').style.maxWidth = ''")
        await page.evaluate("document.querySelector('#log').style.width = '5000px'")
        await page.wait_for_function(
            f"() => ({STOPS})('{LAST}').every(([, stop]) => !stop)"
        )

    await everywhere(scenario)


async def test_lists_have_the_direction_of_each_item_and_nest_tightly(
    everywhere: Everywhere, fast_service: int
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(f"http://127.0.0.1:{fast_service}/")
        await written(page)
        found = await page.evaluate(
            """last => {
              const list = document.querySelector(`${last} .rendered > ul`);
              const inner = list.getBoundingClientRect();
              const [one, two] = list.children;
              const nested = two.querySelector('li');
              const text = document.createRange();
              text.selectNodeContents(two.firstChild);
              const line = text.getBoundingClientRect();
              return {
                directions: [one, two, nested].map((item) => getComputedStyle(item).direction),
                // The room for a marker is where its line begins.
                rooms: [one.getBoundingClientRect().left - inner.left,
                  inner.right - two.getBoundingClientRect().right].every((room) => room > 15),
                inside: one.getBoundingClientRect().right === inner.right
                  && two.getBoundingClientRect().left === inner.left,
                gap: nested.getBoundingClientRect().top - line.bottom,
              };
            }""",
            LAST,
        )
        assert found.pop("gap") < 8
        assert found == {
            "directions": ["ltr", "rtl", "ltr"],
            "rooms": True,
            "inside": True,
        }

    await everywhere(scenario)


# ---------------------------------------------------------------------- what can be seen and touched

CONTRASTS = """() => {
  const context = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const luminance = (colour) => {
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((part) => {
      const value = part / 255;
      return value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
    });
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = luminance(getComputedStyle(document.body).backgroundColor);
  const of = (selector, property) => {
    const line = luminance(getComputedStyle(document.querySelector(selector))[property]);
    return (Math.max(line, ground) + .05) / (Math.min(line, ground) + .05);
  };
  return {
    question: of('.message .text', 'borderTopColor'),
    code: of('.code', 'borderTopColor'),
    quotation: of('blockquote', 'borderLeftColor'),
    head: of('th', 'borderBottomColor'),
    row: of('td', 'borderBottomColor'),
    task: of('label input', 'borderTopColor'),
    composer: of('#composer', 'borderTopColor'),
  };
}"""
"""A function that returns the contrasts of lines to the ground of the page."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_lines_of_blocks_can_be_seen_and_axe_finds_nothing(
    chromium: Browser, fast_service: int, open_page: OpenPage, npm: Path, scheme: Any
) -> None:
    axe = (npm / "axe-core" / "axe.min.js").read_text()
    phone = {**PHONE, "locale": "zh-CN"} if scheme == "dark" else {}
    url = f"http://127.0.0.1:{fast_service}/"
    page = await open_page(chromium, url, color_scheme=scheme, **phone)
    await written(page)
    await page.evaluate("document.activeElement.blur()")
    contrasts = await page.evaluate(CONTRASTS)
    assert all(contrast >= 3 for contrast in contrasts.values()), contrasts
    await page.evaluate(axe)
    found = await page.evaluate("axe.run().then(({violations}) => violations)")
    assert found == [], json.dumps(found, indent=1)[:3000]


async def overflow(page: PlaywrightPage) -> list[str]:
    """Return what reaches over the edge of the page, but for what scrolls by itself."""
    found: list[str] = await page.evaluate(
        """() => [...document.querySelectorAll('body *')].filter((element) =>
             !element.closest('.unseen, pre > *, .wide > *, .formula > *, template, [hidden]')
             && element.getBoundingClientRect().right > innerWidth + .5)
           .map((element) => element.outerHTML.slice(0, 80))"""
    )
    return found


@pytest.mark.parametrize("locale", ["en", "zh-CN"])
async def test_nothing_reaches_over_the_edge_of_a_phone_and_fingers_find_everything(
    chromium: Browser, fast_service: int, open_page: OpenPage, locale: str
) -> None:
    url = f"http://127.0.0.1:{fast_service}/"
    page = await open_page(chromium, url, locale=locale, **PHONE)
    for text in (WRITTEN, "x" * 400):
        await written(page, text)
        assert await overflow(page) == []
        await page.click(f"{LAST} .raw")
        assert await overflow(page) == []
        await page.click(f"{LAST} .raw")
    scroller = "(({scrollWidth, clientWidth}) => scrollWidth === clientWidth)"
    assert await page.evaluate(f"{scroller}(document.querySelector('#scroller'))")
    small = await page.evaluate(
        """() => [...document.querySelectorAll('button, select, summary, textarea, .actions a')]
          .filter((element) => element.checkVisibility())
          .map((element) => [element.getBoundingClientRect(), element.outerHTML.slice(0, 60)])
          .filter(([{width, height}]) => width < 44 || height < 44)
          .map(([{width, height}, html]) => [width, height, html])"""
    )
    assert small == []


async def test_forced_colours_leave_borders_and_the_focus(
    chromium: Browser, fast_service: int, open_page: OpenPage
) -> None:
    await in_forced_colours(chromium, fast_service, open_page)


async def test_forced_colours_in_firefox(
    fast_service: int, open_page: OpenPage
) -> None:
    """Firefox itself has no emulation of them, but a setting: always use the colours chosen here."""
    require("firefox-esr")
    async with async_playwright() as playwright:
        firefox = await playwright.firefox.launch(
            channel="moz-firefox",
            executable_path=shutil.which("firefox-esr"),
            firefox_user_prefs={"browser.display.document_color_use": 2},
        )
        await in_forced_colours(firefox, fast_service, open_page)
        await firefox.close()


async def in_forced_colours(
    browser: Browser, fast_service: int, open_page: OpenPage
) -> None:
    """Check borders and the focus of a page in forced colours."""
    url = f"http://127.0.0.1:{fast_service}/"
    page = await open_page(browser, url, forced_colors="active")
    assert await page.evaluate("matchMedia('(forced-colors: active)').matches")
    await written(page)
    borders = await page.evaluate(
        """last => ['#composer', '#send', '#clear', '.message .text', `${last} .code`,
            `${last} .actions .copy`, `${last} .bar .copy`, 'label input']
          .filter((selector) => {
            const style = getComputedStyle(document.querySelector(selector));
            return style.borderTopStyle !== 'solid' || parseFloat(style.borderTopWidth) < 1
              || style.borderTopColor === getComputedStyle(document.body).backgroundColor;
          }).map((selector) => [selector, getComputedStyle(document.querySelector(selector)).borderTop])""",
        LAST,
    )
    assert borders == []
    await page.focus("#message")
    outline = (
        "(({outlineStyle, outlineWidth}) => [outlineStyle, outlineWidth])"
        "(getComputedStyle(document.querySelector('#composer')))"
    )
    assert await page.evaluate(outline) == ["solid", "2px"]
    await page.evaluate("document.activeElement.blur()")
    assert (await page.evaluate(outline))[0] == "none"


async def test_a_print_has_no_empty_strips_and_whole_tables(
    chromium: Browser, fast_service: int, open_page: OpenPage
) -> None:
    url = f"http://127.0.0.1:{fast_service}/"
    page = await open_page(chromium, url, viewport={"width": 640, "height": 900})
    await written(page)
    await written(page, "short")
    sheets = (await page.pdf(format="A4")).count(b"/Type /Page\n")
    await page.emulate_media(media="print")
    found = await page.evaluate(
        """() => ({
          cut: [...document.querySelectorAll('pre, .wide')].filter((box) =>
            box.scrollWidth > box.clientWidth + 1 || getComputedStyle(box).overflowX !== 'visible').length,
          last: document.querySelector('article:last-child').offsetHeight < 80,
          buttons: [...document.querySelectorAll('button')].filter((button) => button.checkVisibility()).length,
          contained: [...document.querySelectorAll('article')].filter((article) =>
            getComputedStyle(article).contain !== 'none').length,
          height: document.documentElement.scrollHeight,
        })"""
    )
    height = found.pop("height")
    assert found == {"cut": 0, "last": True, "buttons": 0, "contained": 0}
    # A sheet of A4 has 1123 pixels. The last one may be nearly empty, and a block may go to the next one whole.
    assert sheets <= height / 1123 + 2
