/**
 * Text that grows in one element, at a cost that does not grow with it.
 *
 * The element's `textContent` is always exactly the text. Inside, it stands in blocks that end at line ends: the browser
 * lays out anew only the last of them. A block's text stands in several nodes, so that a line without end is shaped only once.
 */

const BLOCK = 600;
const NODE = 1500;

export class GrowingText {
  #element;
  /** @type {HTMLElement | null} */
  #block = null;
  #blockLength = 0;
  /** @type {Text | null} */
  #node = null;
  length = 0;

  /** @param {HTMLElement} element */
  constructor(element) {
    this.#element = element;
  }

  /** @param {string} text */
  append(text) {
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
      this.#node = null;
      added.append(this.#block);
    }
    this.#blockLength += text.length;
    // Only before a plain letter or an ideograph may a node begin: nothing there joins what stands before it.
    if (this.#node && (this.#node.length < NODE || !/^[\w\u4e00-\u9fff]/.test(text))) this.#node.appendData(text);
    else this.#block.append((this.#node = document.createTextNode(text)));
  }

  clear() {
    this.#element.replaceChildren();
    this.#block = this.#node = null;
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
        const tail = document.createTextNode(text.slice(index - start));
        block.replaceChildren(tail);
        if (block === this.#block) {
          this.#node = tail;
          this.#blockLength = tail.length;
        }
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
