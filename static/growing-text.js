/**
 * Text that grows in one element, at a cost that does not grow with it.
 *
 * The element's `textContent` is always exactly the text. Inside, it stands in blocks, of which the browser lays out anew
 * only the last. A block ends at a line end; a line without end is broken where the browser breaks it anyway, for as long
 * as the element's width stays the same.
 */

const BLOCK = 600;
/** Past this many UTF-16 units a line without end is broken. */
const ENDLESS = 2000;
/** Letters whose order on the screen depends on what stands around them: their line stays whole. */
const BIDI = /[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufeff\ud802\ud803\ud83a\ud83b]/;

export class GrowingText {
  #element;
  /** @type {HTMLElement | null} */
  #block = null;
  #blockLength = 0;
  /** Whether the last block may be broken: nothing in it needs what stands before. */
  #plain = true;
  /** Blocks that go on the line of the one before them. @type {Set<HTMLElement>} */
  #continued = new Set();
  #width = -1;
  /** @type {ResizeObserver | null} */
  #resized = null;
  length = 0;

  /** @param {HTMLElement} element */
  constructor(element) {
    this.#element = element;
  }

  /** @param {string} text */
  append(text) {
    if (this.#plain && this.#blockLength > ENDLESS) this.#break();
    this.length += text.length;
    const added = document.createDocumentFragment();
    let from = 0;
    while (from < text.length) {
      // A block ends at the first line end past its measure.
      const end = text.indexOf('\n', Math.max(from, from + BLOCK - this.#blockLength));
      const to = end < 0 ? text.length : end + 1;
      this.#put(text.slice(from, to), added);
      if (end >= 0) this.#block = null;
      from = to;
    }
    this.#element.append(added);
  }

  /** @param {string} text @param {DocumentFragment} added */
  #put(text, added) {
    if (!this.#block) {
      this.#block = document.createElement('div');
      this.#blockLength = 0;
      this.#plain = true;
      added.append(this.#block);
    }
    this.#blockLength += text.length;
    this.#plain &&= !BIDI.test(text);
    const node = this.#block.lastChild;
    if (node instanceof Text) node.appendData(text);
    else this.#block.append(text);
  }

  /**
   * Breaks the last block before its last line. Called before the text grows, while the layout of the last frame still
   * stands: asking for it costs nothing.
   */
  #break() {
    const block = this.#block;
    const node = block?.lastChild;
    if (!block || !(node instanceof Text)) return;
    const range = document.createRange();
    /** @param {number} index */
    const top = (index) => {
      range.setStart(node, index);
      range.setEnd(node, index + 1);
      return range.getClientRects()[0]?.top ?? NaN;
    };
    const last = top(node.length - 1);
    let low = Math.max(0, node.length - ENDLESS);
    let high = node.length - 1;
    if (!(top(low) < last)) return;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (top(middle) < last) low = middle;
      else high = middle;
    }
    if (top(high) !== last) return;
    const next = document.createElement('div');
    next.append(node.data.slice(high));
    node.deleteData(high, node.length - high);
    block.after(next);
    this.#continued.add(next);
    this.#block = next;
    this.#blockLength = next.textContent?.length ?? 0;
    this.#watch();
  }

  /** Another width breaks lines elsewhere: then they become whole again. */
  #watch() {
    if (this.#resized) return;
    this.#width = this.#element.clientWidth;
    this.#resized = new ResizeObserver(() => {
      const width = this.#element.clientWidth;
      if (width === this.#width || width === 0) return;
      this.#width = width;
      // Not in here: what changes sizes while they are told of makes the browser complain.
      requestAnimationFrame(() => this.#join());
    });
    this.#resized.observe(this.#element);
  }

  #join() {
    for (const block of this.#continued) {
      const before = block.previousElementSibling;
      if (!(before instanceof HTMLElement) || before.hidden !== block.hidden) continue;
      before.append(...block.childNodes);
      before.normalize();
      block.remove();
      if (block === this.#block) {
        this.#block = before;
        this.#blockLength = before.textContent?.length ?? 0;
      }
    }
    this.#continued.clear();
  }

  clear() {
    this.#element.replaceChildren();
    this.#continued.clear();
    this.#resized?.disconnect();
    this.#resized = this.#block = null;
    this.length = this.#blockLength = 0;
  }

  /**
   * Hides what stands before a UTF-16 index, which another element shows instead; the text stays whole.
   *
   * @param {number} index at a line end
   */
  cover(index) {
    let start = 0;
    for (const block of /** @type {HTMLElement[]} */ ([...this.#element.children])) {
      const text = block.textContent ?? '';
      const end = start + text.length;
      if (start < index && index < end) {
        const head = document.createElement('div');
        head.textContent = text.slice(0, index - start);
        head.hidden = true;
        block.before(head);
        if (this.#continued.delete(block)) this.#continued.add(head);
        const tail = document.createTextNode(text.slice(index - start));
        block.replaceChildren(tail);
        if (block === this.#block) this.#blockLength = tail.length;
        block.hidden = false;
      } else {
        block.hidden = end <= index;
      }
      start = end;
    }
    // What comes next must be seen.
    if (this.#block?.hidden) this.#block = null;
  }
}
