"""A line without end is laid out in blocks, which must not be seen."""

import itertools
import random

import pytest

from ..adversarial import CORPUS
from .browsers import Everywhere, NewProfile

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.thorough]

WORDS = """
(world)|word!|a-b|A/B|x=1,|«quoted»|50%|$20|1,234.5|١٢٣|123|12:30|+5|C#|é!|
עולם!|נִקּוּד|(סוגריים)|עברית,|عربي|الكتابُ؛|سلام؟|[مفتوح مغلق]|(two שתי words)|
(שתי two מילים)|[one אחת] (x עברית y z)|你好世界|狐狸，跳过|👩‍👩‍👧‍👦|\u200fmark\u200e
""".replace("\n", "").split("|")
"""Words whose direction depends on their neighbours, and words on which that of neighbours depends."""

SEEDS = 24

MOVED = """async ([text, step]) => {
  const main = document.querySelector('script[src]').getAttribute('src');
  const {GrowingText} = await import('/' + main.replace('main.js', 'growing-text.js'));
  document.body.classList.remove('empty');
  const reply = document.querySelector('#reply-template').content.cloneNode(true);
  document.querySelector('#log').replaceChildren(reply);
  const element = document.querySelector('article .text');
  const growing = new GrowingText(element);
  for (let at = 0; at < text.length; at += step) {
    growing.append(text.slice(at, at + step));
    document.body.offsetHeight;
  }
  const whole = element.cloneNode();
  whole.append(document.createElement('div'));
  whole.firstChild.textContent = text;
  element.after(whole);
  const places = (within) => {
    const {left, top} = within.getBoundingClientRect();
    const range = document.createRange();
    const found = [];
    for (const {firstChild: node} of within.children) {
      for (let i = 0; i < node.length; i++) {
        range.setStart(node, i);
        range.setEnd(node, i + 1);
        const rect = [...range.getClientRects()].at(-1) ?? new DOMRect();
        found.push([rect.left - left, rect.top - top]);
      }
    }
    return found;
  };
  const [as, expected] = [places(element), places(whole)];
  const moved = expected.findIndex(([left, top], i) => /[^ ]/.test(text[i])
    // Firefox puts the space at the end of a line now left, now right of it.
    && Math.hypot(left - as[i][0], top - as[i][1]) > 6);
  return [element.textContent === text, element.children.length, text.slice(moved, moved + 30)];
}"""
"""A function that returns whether the text is exact, the number of its blocks, and where a letter first left its place."""


async def test_no_letter_leaves_its_place(everywhere: Everywhere, service: int) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(f"http://127.0.0.1:{service}/")
        broken = 0
        for seed in range(SEEDS):
            text = " ".join(random.Random(seed).choices(WORDS, k=450))
            exact, pieces, moved = await page.evaluate(MOVED, [text, 400])
            assert exact and moved == "", (seed, moved)
            broken += pieces - 1
        assert broken > SEEDS / 2
        joined = await page.evaluate(MOVED, ["سلام" * 700, 400])
        assert joined == [True, 1, ""]

    await everywhere(scenario)


LASTS = """async ([text, step]) => {
  const main = document.querySelector('script[src]').getAttribute('src');
  const {GrowingText} = await import('/' + main.replace('main.js', 'growing-text.js'));
  document.body.classList.remove('empty');
  const reply = document.querySelector('#reply-template').content.cloneNode(true);
  document.querySelector('#log').replaceChildren(reply);
  const element = document.querySelector('article .text');
  const growing = new GrowingText(element);
  const begun = performance.now();
  for (let at = 0; at < text.length; at += step) {
    growing.append(text.slice(at, at + step));
    document.body.offsetHeight;
  }
  return [element.textContent === text, performance.now() - begun];
}"""
"""A function that returns whether the text is exact, and the milliseconds that its layout took."""

FLOOR_MS = 1000
"""What is always good: beside other browsers short times are mostly noise."""

RATIO = 12
"""How many times as long a text four times as long may take; without an end to marks it was 33."""


async def test_marks_without_end_are_laid_out_in_linear_time(
    everywhere: Everywhere, service: int
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(f"http://127.0.0.1:{service}/")
        for name, step in itertools.product(
            ("marks", "GCB=ZWJ", "flags"), (64, 40_000)
        ):
            times = []
            for length in (5_000, 20_000):
                tries = []
                for _ in range(2):
                    exact, lasted = await page.evaluate(
                        LASTS, [CORPUS[name](length), step]
                    )
                    assert exact
                    tries.append(lasted)
                times.append(min(tries))
            assert times[1] <= max(FLOOR_MS, RATIO * times[0]), (name, step, times)

    await everywhere(scenario)
