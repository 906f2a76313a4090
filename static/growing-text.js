/**
 * Text that grows in one element, at a cost that does not grow with it.
 *
 * Browsers lay out a whole paragraph anew when a character is added to it. In Chromium on an ordinary machine that
 * takes 20 to 40 ms at 10,000 letters, which is two frames, and 100 to 200 ms at 30,000. So the text stands in blocks,
 * of which only the last changes, and a frame takes 1 to 2 ms however long the text is. A block ends at a line end. A
 * line without end is broken into blocks where the browser wraps it anyway, so that the reader sees no difference.
 *
 * Lines of Arabic and Hebrew, and lines that mix directions, cost as much and need more care: broken at the wrong
 * place, their letters change places on the screen (UAX #9). `mayBreak` says of a place whether none does. Without it
 * such lines would either have to stay whole, at the cost above, or be shown wrongly.
 *
 * Invariants:
 * - The element's `textContent` is exactly the text, whatever is broken.
 * - Broken lines look as if they were whole: when the element's width changes, they are joined again.
 */

/** The length from which a block ends at the next line end, in UTF-16 units. */
const BLOCK_LENGTH = 600;
/** The length from which a block is broken although no line ends, in UTF-16 units. */
const MAX_BLOCK_LENGTH = 1000;
/** After an attempt to break a block that found no place, it has to grow by this much before the next. */
const NEXT_ATTEMPT_LENGTH = MAX_BLOCK_LENGTH / 4;
/** Characters that run from right to left: those of Hebrew, Arabic and other scripts, and RLM (UAX #9). */
const RIGHT_TO_LEFT = /[\u0590-\u08ff\u200f\ufb1d-\ufdff\ufe70-\ufeff\ud802\ud803\ud83a\ud83b]/;
/** Embeddings, overrides and isolates (UAX #9): they hold until they are ended, however far away that is. */
const BIDI_CONTROL = /[\u202a-\u202e\u2066-\u2069]/;
/**
 * An end whose direction does not depend on what follows: a letter or digit. Spaces behind it take the line's
 * direction at the end of a line (UAX #9 rule L1).
 */
const SETTLED_AT_END = /[\p{L}\p{Nd}]\p{M}* *$/u;
/** A start whose direction does not depend on what comes before. */
const LETTER_AT_START = /^\p{L}/u;
/**
 * Where a block ends: at a line end, or when a character is as long as one may be (PROTOCOL.md section 1). Browsers lay out
 * marks in time that grows with the square of their number, and never break a line between them.
 */
const BLOCK_END = /\n|[\p{M}\u200d]{256}/gu;
/** A text that ends with a character that is as long as one may be. */
const MARKS_AT_END = /[\p{M}\u200d]{256}$/u;

/** The text of one element, which is appended to and never changed. */
export class GrowingText {
  /** The length of the text in UTF-16 units. */
  length = 0;
  #element;
  /** The block that text is appended to; null if the next text begins a new one. @type {HTMLElement | null} */
  #block = null;
  #blockLength = 0;
  /** The length from which the last block is to be broken. */
  #breakFrom = MAX_BLOCK_LENGTH;
  /** The blocks that continue the line of the block before them. @type {Set<HTMLElement>} */
  #continued = new Set();
  #width = -1;
  /** @type {ResizeObserver | null} */
  #resizeObserver = null;

  /** @param {HTMLElement} element an empty element; its style sheet must preserve white space */
  constructor(element) {
    this.#element = element;
  }

  /**
   * Append text.
   *
   * @param {string} text
   */
  append(text) {
    if (this.#blockLength > this.#breakFrom) this.#break();
    this.length += text.length;
    const added = document.createDocumentFragment();
    let from = 0;
    while (from < text.length) {
      // A block that continues a line ends with that line: its direction is that line's alone.
      const least = this.#block?.dir ? 0 : BLOCK_LENGTH - this.#blockLength;
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
      this.#breakFrom = MAX_BLOCK_LENGTH;
      added.append(this.#block);
    }
    this.#blockLength += text.length;
    const node = this.#block.lastChild;
    if (node instanceof Text) node.appendData(text);
    else this.#block.append(text);
  }

  /**
   * Break the last block where one of its last lines on the screen starts, if there is such a place. It is
   * called before the text grows, while the layout of the last frame is still valid, so that asking for it
   * costs nothing.
   */
  #break() {
    const block = this.#block;
    const node = block?.lastChild;
    if (!block || !(node instanceof Text)) return;
    if (MARKS_AT_END.test(node.data.slice(-MAX_BLOCK_LENGTH))) {
      this.#block = null;
      return;
    }
    this.#breakFrom = this.#blockLength + NEXT_ATTEMPT_LENGTH;
    const start = node.data.lastIndexOf('\n') + 1;
    const direction = block.dir || directionOf(node.data.slice(start));
    for (const index of lineStarts(node, Math.max(start, node.length - MAX_BLOCK_LENGTH))) {
      if (!mayBreak(node.data.slice(start, index), node.data.slice(index), direction)) continue;
      const next = document.createElement('div');
      next.dir = direction;
      next.append(node.data.slice(index));
      node.deleteData(index, node.length - index);
      block.after(next);
      this.#continued.add(next);
      this.#block = next;
      this.#blockLength = next.textContent?.length ?? 0;
      this.#breakFrom = MAX_BLOCK_LENGTH;
      this.#observeWidth();
      return;
    }
  }

  /** Join the broken lines when the width changes, since the browser then wraps them elsewhere. */
  #observeWidth() {
    if (this.#resizeObserver) return;
    this.#width = this.#element.clientWidth;
    this.#resizeObserver = new ResizeObserver(() => {
      const width = this.#element.clientWidth;
      if (width === this.#width || width === 0) return;
      this.#width = width;
      // Inside the callback a change of size would be an error, "ResizeObserver loop completed with …".
      requestAnimationFrame(() => this.#join());
    });
    this.#resizeObserver.observe(this.#element);
  }

  /** Make the broken lines whole again. */
  #join() {
    for (const block of this.#continued) {
      const before = block.previousElementSibling;
      if (!(before instanceof HTMLElement)) continue;
      before.append(...block.childNodes);
      before.normalize();
      block.remove();
      if (block === this.#block) {
        this.#block = before;
        this.#blockLength = before.textContent?.length ?? 0;
        this.#breakFrom = MAX_BLOCK_LENGTH;
      }
    }
    this.#continued.clear();
  }

  /** Remove all text. */
  clear() {
    this.#element.replaceChildren();
    this.#continued.clear();
    this.#resizeObserver?.disconnect();
    this.#resizeObserver = this.#block = null;
    this.length = this.#blockLength = 0;
  }
}

/**
 * Yield the indexes at which the lines of a text on the screen start, from the last back to an index.
 *
 * @param {Text} node
 * @param {number} least a UTF-16 index
 * @returns {Generator<number, void>}
 */
function* lineStarts(node, least) {
  const range = document.createRange();
  /** @param {number} index */
  const rectangleOf = (index) => {
    range.setStart(node, index);
    range.setEnd(node, index + 1);
    // The first character of a line may have a second rectangle of no width at the end of the line before.
    return [...range.getClientRects()].at(-1) ?? new DOMRect();
  };
  for (let end = node.length - 1; end > least; ) {
    const line = rectangleOf(end);
    /** @param {number} index */
    const isAbove = (index) => {
      // Letters of another font may stand a little higher or lower in the same line, so compare the middles.
      const { top, height } = rectangleOf(index);
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
 * Return whether a line may be broken into two blocks of its direction without a letter changing its place.
 * A line that has run from left to right so far always may. Otherwise each side must be laid out as it is
 * without knowing the other (UAX #9): the first has to end, and the second to begin, with a letter whose
 * direction is its own, and no control or bracket may reach across.
 *
 * @param {string} before the line up to the break, from its start or from where it was broken last
 * @param {string} after what follows the break
 * @param {string} direction of the line: `ltr` or `rtl`
 */
function mayBreak(before, after, direction) {
  if (BIDI_CONTROL.test(before)) return false;
  if (!RIGHT_TO_LEFT.test(before)) return true;
  const startsRtl = RIGHT_TO_LEFT.test(String.fromCodePoint(after.codePointAt(0) ?? 0));
  // Arabic letters are joined to their neighbours, and change their shape where they are not: only a space parts them.
  const apart = before.endsWith(' ') || !(startsRtl || RIGHT_TO_LEFT.test(before.slice(-2)));
  const settled = startsRtl === (direction === 'rtl') || SETTLED_AT_END.test(before);
  return apart && settled && LETTER_AT_START.test(after) && !isOpen(before);
}

/**
 * Return whether a bracket is open at the end of a text. Both brackets of a pair take their direction from what
 * stands between them (UAX #9 rule N0), so a pair must not be parted.
 *
 * @param {string} text
 */
function isOpen(text) {
  let depth = 0;
  for (const [bracket] of text.matchAll(/[\p{Ps}\p{Pe}]/gu)) {
    depth = /\p{Ps}/u.test(bracket) ? depth + 1 : Math.max(0, depth - 1);
  }
  return depth > 0;
}

/** Return the direction that the browser gives a line. @param {string} line @returns {string} `ltr` or `rtl` */
function directionOf(line) {
  if (!RIGHT_TO_LEFT.test(line)) return 'ltr';
  const probe = document.createElement('bdi');
  probe.hidden = true;
  probe.textContent = line;
  document.body.append(probe);
  const { direction } = getComputedStyle(probe);
  probe.remove();
  return direction;
}
