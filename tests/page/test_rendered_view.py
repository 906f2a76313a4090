"""How the page draws rendered blocks: what stays the same stays in place, also what is selected."""

import pytest
from playwright.async_api import Browser

from .browsers import Everywhere, NewProfile
from .conftest import OpenPage

pytestmark = pytest.mark.asyncio(loop_scope="session")

PREPARE = r"""async () => {
  const main = document.querySelector('script[src]').getAttribute('src');
  const {RenderedView} = await import('/' + main.replace('main.js', 'rendered-view.js'));
  const {dressBlocks} = await import('/' + main.replace('main.js', 'blocks.js'));
  const furnish = (within) => dressBlocks(within, (name) => name);
  document.body.classList.remove('empty');
  document.querySelector('#log').replaceChildren(
    document.querySelector('#reply-template').content.cloneNode(true));
  window.rendered = document.querySelector('article .rendered');
  rendered.hidden = false;
  const view = new RenderedView(rendered, {clean() {}, furnish});
  window.draw = (blocks, text, how) => view.draw(blocks, text, {running: true, rest: false, ...how});
  window.block = (from, to, html, close = null) => ({from, to, html, close});
  window.within = (selector) => rendered.querySelector(selector);
  window.select = (from, start, to, end) => getSelection().setBaseAndExtent(from, start, to, end);
  window.selected = () => getSelection().toString().replace(/\s+/g, ' ').trim();
}"""
"""A function that prepares a view of its own on the page."""

GROWS = r"""() => {
  const seen = [];
  const shown = () => seen.push(rendered.textContent);
  const end = '</p>';
  draw([], 'Hel');
  shown();
  draw([], 'Hello *wor');
  shown();
  const first = within("p");
  const text = first.firstChild;
  draw([block(0, 10, '<p dir="auto">Hello <em>wor', '</em>' + end)], 'Hello *wor');
  shown();
  draw([block(0, 10, '<p dir="auto">Hello <em>wor', '</em>' + end)], 'Hello *world* x');
  shown();
  const em = within('em');
  draw([block(0, 15, '<p dir="auto">Hello <em>world</em> x', end)], 'Hello *world* xy\n\n| a');
  shown();
  const stays = [first === within("p"), text === first.firstChild, em === within('em')];
  const carets = rendered.querySelectorAll('.caret').length;
  // A block may have text that is not here yet.
  const ahead = [block(0, 24, '<p dir="auto">Hello <em>world</em> xy and', end)];
  const text24 = 'Hello *world* xy\n\n| abcd';
  draw(ahead, text24.slice(0, 21));
  draw(ahead, text24.slice(0, 23));
  draw(ahead, text24 + ' z');
  shown();
  const whole = [block(0, 18, '<p dir="auto">Hello <em>world</em> xy</p>')];
  draw(whole, 'Hello *world* xy\n\n| a', {running: false});
  return [seen, stays, carets, rendered.innerHTML];
}"""


async def test_text_grows_behind_what_is_rendered(
    everywhere: Everywhere, fast_service: int
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(f"http://127.0.0.1:{fast_service}/")
        await page.evaluate(PREPARE)
        seen, stays, carets, html = await page.evaluate(GROWS)
        assert seen == [
            "Hel",
            "Hello ",
            "Hello wor",
            "Hello world",
            "Hello world xy",
            "Hello world xy and z",
        ]
        assert stays == [True, True, True]
        assert carets == 1
        assert html == '<p dir="auto">Hello <em>world</em> xy</p>'

    await everywhere(scenario)


SELECTS = r"""() => {
  const found = [];
  const first = block(0, 5, '<p>first one</p>');
  const open = (html, close, to = 9) => [first, block(5, to, html, close)];
  draw(open('<p>see the page', '</p>'), '12345');
  // From a block that is finished into the open one, of which more comes, and a word becomes a link.
  select(within('p').firstChild, 6, rendered.lastElementChild.firstChild, 7);
  found.push(selected());
  draw(open('<p>see the page and more', '</p>'), '12345');
  found.push(selected());
  draw(open('<p>see <a href="https://x/">the page</a> and more', '</p>'), '12345');
  found.push(selected());
  // Within the open one, backwards; a mark goes that had been text.
  const last = [...rendered.lastElementChild.childNodes].findLast((node) => node instanceof Text);
  select(last, 4, within('a').firstChild, 4);
  found.push(selected());
  draw(open('<p>see <a href="https://x/">the <b>page</b></a> <i>and more</i> words', '</p>'), '12345');
  found.push(selected());
  draw([first, block(5, 12, '<p>see <a href="https://x/">the <b>page</b></a> <i>and more</i> words.</p>'),
    block(12, 14, '<ul><li>new', '</li></ul>')], '12345');
  found.push(selected());
  // In code, whose colours change, behind a button of the page's own.
  const code = (html) => [first, block(5, 9, '<pre><code>' + html, '</code></pre>')];
  draw(code('def x'), '12345');
  select(within('code').firstChild, 0, within('code').firstChild, 5);
  const pre = within('pre');
  draw(code('<span class="k">def</span> <span class="nf">x</span>():'), '12345');
  found.push(selected());
  found.push(pre === within('.code > pre') && rendered.querySelectorAll('.code .copy').length === 1);
  return found;
}"""


async def test_what_is_selected_stays_selected(
    everywhere: Everywhere, fast_service: int
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(f"http://127.0.0.1:{fast_service}/")
        await page.evaluate(PREPARE)
        assert await page.evaluate(SELECTS) == [
            "one see the",
            "one see the",
            "one see the",
            "page and",
            "page and",
            "page and",
            "def x",
            True,
        ]

    await everywhere(scenario)


REPLACES = r"""() => {
  const found = [];
  const shown = () => found.push(rendered.innerHTML.replace(/<div class="bar">.*?<\/div>|<div class="wide">(.*?<\/table>)<\/div>/gs, '$1').replace(/<span class="caret"[^>]*><\/span>|<!---->/g, '^'));
  const all = [block(0, 3, '<p>a</p>'), block(3, 5, '<h2>b</h2>'), block(5, 7, '<p>c', '</p>')];
  draw(all, '1234567');
  shown();
  // A definition that comes late changes an earlier block, and the ones behind it come again.
  draw([all[0], block(3, 5, '<h2><a>b</a></h2>')], '1234567');
  shown();
  draw([all[0], block(3, 5, '<ul><li>x</li></ul>'), block(5, 7, '<table><tbody><tr><td>y</td>', '</tr></tbody></table>')], '1234567890');
  shown();
  draw([block(0, 2, '<pre><code>z\n', '</code></pre>')], '12w = 1\n`');
  shown();
  draw([block(0, 2, '<div class="formula"><math><mi>x</mi></math></div><section>notes</section>')], '12');
  shown();
  // What no block has is shown as written, once the reply is over.
  draw([block(0, 2, '<p>a</p>')], '12**b', {running: false, rest: true});
  shown();
  draw([block(0, 5, '<p>a<b>b</b></p>')], '12**b', {running: false, rest: true});
  shown();
  draw([], '', {running: false});
  shown();
  return found;
}"""


async def test_blocks_replace_those_from_where_they_begin(
    chromium: Browser, fast_service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{fast_service}/")
    await page.evaluate(PREPARE)
    assert await page.evaluate(REPLACES) == [
        "<p>a</p><h2>b</h2><p>c^^</p>",
        "<p>a</p><h2><a>b</a>^</h2>",
        "<p>a</p><ul><li>x</li></ul><table><tbody><tr><td>y^</td>^</tr></tbody></table>",
        '<div class="code"><pre><code>z\nw = 1^^</code></pre></div>',
        '<div class="formula"><math><mi>x</mi></math></div><section>notes</section>',
        '<p>a</p><div class="rest" dir="auto">**b</div>',
        "<p>a<b>b</b></p>",
        "",
    ]


SCROLLS = r"""async () => {
  const rows = (n) => '<table dir="auto"><tbody>' + `<tr><td>${'wide'.repeat(200)}</td></tr>`.repeat(n);
  draw([block(0, 1, rows(2), '</tbody></table>')], '1');
  const [wide, table] = [within('.wide'), within('table')];
  wide.scrollLeft = 40;
  while (wide.tabIndex !== 0) await new Promise(requestAnimationFrame);
  const [row] = table.rows;
  draw([block(0, 2, rows(3), '</tbody></table>')], '12');
  return [table === within('.wide > table'), wide.scrollLeft, wide.tabIndex, table.dir + wide.dir, row === table.rows[0], table.rows.length];
}"""


async def test_what_is_scrolled_sideways_stays_so(
    chromium: Browser, fast_service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{fast_service}/")
    await page.evaluate(PREPARE)
    assert await page.evaluate(SCROLLS) == [True, 40, 0, "auto", True, 3]


async def test_many_blocks_stand_in_order(
    chromium: Browser, fast_service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{fast_service}/")
    await page.evaluate(PREPARE)
    count, right = await page.evaluate(
        """() => {
          let all = [];
          const numbers = () => [...rendered.querySelectorAll('p')].map((p) => Number(p.textContent));
          const add = (n) => all.push(block(n, n + 1, `<p>${n}</p>`));
          for (let n = 0; n < 100; n++) {
            add(n);
            draw([...all], '');
          }
          // A late definition: an element in the middle is another one.
          all[31] = block(31, 32, '<h2>x</h2>');
          draw([...all], '');
          all[31] = block(31, 32, '<p>31</p><p>31.5</p>');
          draw([...all], '');
          const right = numbers().every((n, i, all) => i === 0 || n > all[i - 1]);
          draw(all.slice(0, 40), '');
          const few = numbers().length;
          return [few, right];
        }"""
    )
    assert (count, right) == (41, True)


async def test_code_shows_its_language_when_half_of_it_came_first(
    everywhere: Everywhere, fast_service: int
) -> None:
    """HTML that is asked for may end in the middle of it."""

    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(f"http://127.0.0.1:{fast_service}/")
        await page.evaluate(PREPARE)
        for language in ("", "pytho", "python"):
            shown = await page.evaluate(
                """language => {
                  const as = language && ` class="language-${language}"`;
                  draw([block(0, 20, `<pre><code${as}>`, '</code></pre>')], '```python\\nabcdefghij');
                  return within('.language').textContent;
                }""",
                language,
            )
            assert shown == (language or "code")

    await everywhere(scenario)
