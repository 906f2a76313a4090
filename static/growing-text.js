/**
 * Text that grows in one element, at a cost that does not grow with it.
 *
 * The element's `textContent` is always exactly the text. Inside, it stands in blocks, of which the browser lays out anew
 * only the last. A block ends at a line end; a line without end is broken where the browser breaks it anyway, for as long
 * as the element's width stays the same.
 *
 * Where letters run in two directions, their order on the screen depends on what stands around them (UAX #9). Such a line
 * is broken only where nothing depends on the other side, and what follows is told the line's direction.
 */

const BLOCK = 600;
/** Past this many UTF-16 units a line without end is broken. */
const ENDLESS = 1000;
/** Letters that run from right to left, and marks that count as such. */
const LEFTWARD = /[\u0590-\u08ff\u200f\ufb1d-\ufdff\ufe70-\ufeff\ud802\ud803\ud83a\ud83b]/;
/** Controls that hold until they are ended, however far away that is. */
const HOLDING = /[\u202a-\u202e\u2066-\u2069]/;
/** What looks back, not ahead, for its direction; the spaces at the end of a line have the line's. */
const SETTLED_AT_END = /[\p{L}\p{Nd}]\p{M}* *$/u;
const LETTER_AT_START = /^\p{L}/u;
/**
 * Where a block ends: at a line end, or when a character is as long as one may be (PROTOCOL.md section 1). Browsers lay out
 * marks in time that grows with the square of their number, and never break a line between them.
 */
const BLOCK_END = /\n|[\p{M}\u200d]{256}/gu;
const MARKS_AT_END = /[\p{M}\u200d]{256}$/u;

export class GrowingText {
  #element;
  /** @type {HTMLElement | null} */
  #block = null;
  #blockLength = 0;
  /** The length from which on it is tried to break the last block. */
  #breakFrom = ENDLESS;
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
    if (this.#blockLength > this.#breakFrom) this.#break();
    this.length += text.length;
    const added = document.createDocumentFragment();
    let from = 0;
    while (from < text.length) {
      // A block ends at the first line end past its measure; one that goes on a line, with that line.
      const least = this.#block?.dir ? 0 : BLOCK - this.#blockLength;
      BLOCK_END.lastIndex = Math.max(from, from + least);
      const end = BLOCK_END.exec(text);
      const to = end ? end.index + end[0].length : text.length;
      this.#put(text.slice(from, to), added);
      if (end) this.#block = null;
      from = to;
    }
    this.#element.append(added);
  }

  /** @param {string} text @param {DocumentFragment} added */
  #put(text, added) {
    if (!this.#block) {
      this.#block = document.createElement('div');
      this.#blockLength = 0;
      this.#breakFrom = ENDLESS;
      added.append(this.#block);
    }
    this.#blockLength += text.length;
    const node = this.#block.lastChild;
    if (node instanceof Text) node.appendData(text);
    else this.#block.append(text);
  }

  /**
   * Breaks the last block before one of its last lines. Called before the text grows, while the layout of the last frame
   * still stands: asking for it costs nothing.
   */
  #break() {
    const block = this.#block;
    const node = block?.lastChild;
    if (!block || !(node instanceof Text)) return;
    if (MARKS_AT_END.test(node.data.slice(-ENDLESS))) {
      this.#block = null;
      return;
    }
    this.#breakFrom = this.#blockLength + ENDLESS / 4;
    const start = node.data.lastIndexOf('\n') + 1;
    const direction = block.dir || directionOf(node.data.slice(start));
    for (const index of lineStarts(node, Math.max(start, node.length - ENDLESS))) {
      if (!mayBreak(node.data.slice(start, index), node.data.slice(index), direction)) continue;
      const next = document.createElement('div');
      next.dir = direction;
      next.append(node.data.slice(index));
      node.deleteData(index, node.length - index);
      block.after(next);
      this.#continued.add(next);
      this.#block = next;
      this.#blockLength = next.textContent?.length ?? 0;
      this.#breakFrom = ENDLESS;
      this.#watch();
      return;
    }
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
        this.#breakFrom = ENDLESS;
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

/**
 * Where the lines on the screen start, from the last back to an index.
 *
 * @param {Text} node
 * @param {number} least a UTF-16 index
 * @returns {Generator<number, void>}
 */
function* lineStarts(node, least) {
  const range = document.createRange();
  /** @param {number} index */
  const place = (index) => {
    range.setStart(node, index);
    range.setEnd(node, index + 1);
    // Where a line starts, there may be a rectangle of no width at the end of the one before.
    return [...range.getClientRects()].at(-1) ?? new DOMRect();
  };
  for (let end = node.length - 1; end > least; ) {
    const line = place(end);
    /** @param {number} index */
    const isAbove = (index) => {
      // Letters out of another font may stand a little higher or lower in the same line.
      const { top, height } = place(index);
      return top + height / 2 < line.top;
    };
    let before = least;
    let start = end;
    if (!isAbove(before)) return;
    while (start - before > 1) {
      const middle = (before + start) >> 1;
      if (isAbove(middle)) before = middle;
      else start = middle;
    }
    yield start;
    end = before;
  }
}

/**
 * Whether a line may be broken into two blocks without a letter changing its place.
 *
 * @param {string} before the line so far, or the part of it since it was broken
 * @param {string} after
 * @param {string} direction of the line
 */
function mayBreak(before, after, direction) {
  if (HOLDING.test(before)) return false;
  if (!LEFTWARD.test(before)) return true;
  const leftward = LEFTWARD.test(String.fromCodePoint(after.codePointAt(0) ?? 0));
  // Letters that are joined are parted by a space only.
  const apart = before.endsWith(' ') || !(leftward || LEFTWARD.test(before.slice(-2)));
  const settled = leftward === (direction === 'rtl') || SETTLED_AT_END.test(before);
  return apart && settled && LETTER_AT_START.test(after) && !isOpen(before);
}

/** Whether a bracket is open at the end of a text: both of a pair take the direction of what is in them. @param {string} text */
function isOpen(text) {
  let depth = 0;
  for (const [bracket] of text.matchAll(/[\p{Ps}\p{Pe}]/gu)) {
    depth = /\p{Ps}/u.test(bracket) ? depth + 1 : Math.max(0, depth - 1);
  }
  return depth > 0;
}

/** The direction that the browser gives a line. @param {string} line @returns {string} `ltr` or `rtl` */
function directionOf(line) {
  if (!LEFTWARD.test(line)) return 'ltr';
  const probe = document.createElement('bdi');
  probe.hidden = true;
  probe.textContent = line;
  document.body.append(probe);
  const { direction } = getComputedStyle(probe);
  probe.remove();
  return direction;
}
