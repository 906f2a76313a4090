"""A film of a reply: what a reader sees of it in every frame, and how far things move."""

from typing import TypedDict

from . import driving
from .browsers import Page
from .driving import LAST

TEXTS = {
    "prose": """# A *short* title of it

The first paragraph has **bold words**, *leaning ones* and `code in a line`, and goes on for a while.
It has a second line, of 3 sums: 2 * 3 = 6, a~b and snake_case_names that mean nothing.

**注意：**请看这里，使用**微服务（microservices）**架构。~~删除：~~保留，见[说明](https://example.com/a_b)。

A link to [the *pages* of it](https://example.com/page "its title"), and https://example.com/bare_one too.
**A line in bold**

> A quotation with **bold** in it
> on two lines, & what follows &amp; ends it.

Setext title
------------

***Bold and leaning*** at the end, \\*no mark\\* and 3 < 4.
""",
    "code": """Install it first:

```sh
pip install chatsvc
chatsvc --port 8080
```

Then write `main.py`:

```python
from chatsvc import create_app


def main(name: str = "x") -> None:
    app = create_app()
    print(f"serving {name}", [1, 2, 3])
```

- A step with code in it:

  ~~~json
  {"a": [1, 2], "b": null}
  ~~~

- and ``a ` tick`` in a line.

    indented = "code"

That is all of it.
""",
    "tables": """The results are these:

| Name | Right | Middle |
|:-----|------:|:------:|
| first | 1.5 | yes |
| second one | 22.75 | **no** |
| `third` | 300 | a \\| b |
| 第四 | 4 | 中文 |

And a second table,

| A | B |
|---|---|
| [link](https://example.com/) | *x* |
| two | 2 |

which is shorter.
""",
    "lists": """What to do:

1. First **this** one,
2. then that,
   - with a point beneath,
   - and *another* one
     on two lines,
3. and `the last`.

- [ ] a task
- [x] one that is done

* loose items

* have paragraphs

  and more of them.

10. Ten
11. Eleven

---

The end - with dashes - is here.
""",
    "formulas": """The sum $\\frac{1}{2} + x^2$ and $5 and $10 of money.

$$
\\int_0^1 x^2 \\, dx = \\frac{1}{3}
$$

So \\(a^2 + b^2 = c^2\\) holds, and

\\[
\\sqrt{2} \\approx 1.41
\\]

is known, as $$e^{i\\pi} + 1 = 0$$ is.
""",
}
"""Replies of the kinds that people see, by name. No code in them has a mark that is looked for."""

RECORD = """() => {
  const film = window.film = [];
  const shifts = window.shifts = [];
  const before = document.querySelectorAll('article.reply').length;
  let begun = Infinity;
  if (PerformanceObserver.supportedEntryTypes.includes('layout-shift')) {
    new PerformanceObserver((list) => {
      for (const {value, startTime, sources} of list.getEntries()) {
        // The composer grows with what is written, and shrinks when it is sent.
        if (startTime < begun) continue;
        shifts.push({value, startTime, sources: sources.map(({node}) =>
          (node?.outerHTML ?? node?.textContent ?? '').slice(0, 60))});
      }
    }).observe({type: 'layout-shift', buffered: false});
  }
  // What stands for no text of the reply's: buttons, and the sources of formulas.
  const chrome = '.actions, .code > :not(pre), annotation, h2.unseen, .steps, .caret';
  const show = (element) => {
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT, (node) =>
      node instanceof Element && (node.matches(chrome) || node.hidden)
        ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
    let shown = '';
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (node instanceof Text) shown += node.data;
    }
    return shown.replace(/\\s+/g, '');
  };
  const record = () => {
    if (window.film !== film) return; // another film has begun
    const replies = document.querySelectorAll('article.reply');
    const reply = replies[replies.length - 1];
    if (replies.length > before) {
      const shown = show(reply);
      if (shown !== film.at(-1)) film.push(shown);
      if (shown) begun = Math.min(begun, performance.now());
    }
    requestAnimationFrame(record);
  };
  requestAnimationFrame(record);
}"""
"""A function that begins a film of the next reply: `film` has the text without white space of each frame that differs
from the one before, `shifts` the layout shifts."""


class Shift(TypedDict):
    """One layout shift, with the beginnings of what moved."""

    value: float
    startTime: float
    sources: list[str]


class Film(TypedDict):
    """What was seen of a reply, and what moved meanwhile."""

    film: list[str]
    shifts: list[Shift]


async def filmed(page: Page, text: str, ended: str = "done") -> Film:
    """Send a message and return the film of its reply, up to some frames after its end."""
    await page.evaluate(RECORD)
    await driving.send(page, text)
    await driving.state(page, ended, timeout=60_000)
    await driving.there(page, f"{LAST} .rendered:not([hidden])")
    film: Film = await page.evaluate(
        """async () => {
          for (let i = 0; i < 20; i++) await new Promise(requestAnimationFrame);
          return {film, shifts};
        }"""
    )
    return film
