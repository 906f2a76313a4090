"""A line without end is laid out in pieces; nobody may see it."""

import random

import pytest

from .browsers import Everywhere, NewProfile

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.thorough]

WORDS = [
    *[
        "hello",
        "(world)",
        "word.",
        "a-b",
        "A/B",
        "x=1,",
        "«quoted»",
        "50%",
        "$20",
        "1,234.5",
        "١٢٣",
        "123",
        "12:30",
    ],
    *[
        "+5",
        "C#",
        "שלום",
        "עולם!",
        "נִקּוּד",
        "(סוגריים)",
        "עברית,",
        "عربي",
        "الكتابُ",
        "سلام؟",
        "你好世界",
        "狐狸，跳过",
    ],
    *["👩\u200d👩\u200d👧\u200d👦", "é", "\u200fmark\u200e"],
    "[مفتوح مغلق]",
    "(two שתי words)",
]
"""What looks for its direction at what stands around it, and what others look at."""

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
    && Math.hypot(left - as[i][0], top - as[i][1]) > 1.5);
  return [element.textContent === text, element.children.length, text.slice(moved, moved + 30)];
}"""
"""Gives whether the text is exact, the number of its pieces, and where a letter first left its place."""


async def test_no_letter_leaves_its_place(everywhere: Everywhere, service: int) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(f"http://127.0.0.1:{service}/")
        for seed, first in enumerate(["hello", "שלום", "عربي", "123"]):
            chance = random.Random(seed)
            text = " ".join([first, *chance.choices(WORDS, k=900)])
            exact, pieces, moved = await page.evaluate(MOVED, [text, 400])
            assert exact and moved == "", (seed, moved)
            assert pieces > 1, seed

    await everywhere(scenario)
