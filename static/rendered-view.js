/**
 * The view of a reply's Markdown: its rendered blocks, of which only the last changes, and behind them the characters
 * that are not rendered yet and mean only themselves.
 *
 * Invariants:
 * - No mark of Markdown is drawn as text before the service has said that it is text: from the first character that may
 *   mean something on, text is held back until a block has it.
 * - A node that is the same as before stays in place, so that what is selected or scrolled sideways stays so.
 *
 * @import { Block } from './rendered-blocks.js'
 *
 * @typedef {object} Finish
 *   What the owner of the view makes of the service's HTML.
 * @property {(blocks: DocumentFragment) => void} clean changes HTML before it is compared with what is shown
 * @property {(blocks: ParentNode) => void} furnish adds controls to what is shown; called again after each change
 */
import { unfinishedFrom } from './rendered-blocks.js';
import { createCaret, endOf, insertionPoint, isTextContainer } from './caret.js';
import { keepSelection } from './kept-selection.js';
import { morph } from './morph.js';
import { indexOfCodePoint } from './position.js';
import { safeLength } from './safe-characters.js';

/** The block that stands for the first one until the service has rendered it. @type {Block} */
const BEGINNING = { from: 0, to: 0, html: '<p dir="auto">', close: '</p>' };
/** A text whose first block surely begins as a paragraph. */
const PARAGRAPH = /^\p{L}/u;
/** Marks that a block of a text that is cut anywhere may show although they are none of its text. */
const MARKS = /[*_`|~$\\[\]<]/;
/** The end tags between which text goes on at the end of a block; within code a line end has been added. */
const CLOSING = /(?:<\/(?:p|li|ul|ol|blockquote|h[1-6])>\s*)+$/;

/** The rendered view of one reply, in an element that is its own. */
export class RenderedView {
  #element;
  #finish;
  /** What is shown: each block, and its elements in the document. @type {{block: Block, elements: Element[]}[]} */
  #shown = [];
  #caret = createCaret();
  /** Where text is drawn behind the last block; null if nowhere. @type {Comment | null} */
  #point = null;
  /** A position, and its index in the text. */
  #place = { position: 0, index: 0 };
  /** How far the text is drawn, as a UTF-16 index. */
  #drawnTo = 0;
  /** What follows the blocks of a reply that is over, as it was written. @type {HTMLElement | null} */
  #rest = null;

  /**
   * @param {HTMLElement} element an empty element
   * @param {Finish} finish
   */
  constructor(element, finish) {
    this.#element = element;
    this.#finish = finish;
  }

  /**
   * Draw a reply's blocks, and as much of the text behind them as means only itself.
   *
   * @param {readonly Block[]} blocks
   * @param {string} text the text of the reply
   * @param {{running: boolean, rest: boolean}} how whether the text grows; whether what no block has is shown as written
   * @returns {boolean} whether all of the text is drawn
   */
  draw(blocks, text, { running, rest }) {
    const wanted = blocks.length > 0 || !running ? blocks : [BEGINNING];
    const same = this.#countSame(wanted);
    if (same < wanted.length || same < this.#shown.length) {
      const changing = this.#shown.slice(same).map(({ elements }) => elements);
      const restore = keepSelection(this.#element, changing);
      this.#caret.remove();
      this.#replace(same, wanted);
      this.#drawText(text, running);
      restore(this.#shown.slice(same).map(({ elements }) => elements));
    } else this.#drawText(text, running);
    this.#drawRest(rest ? text.slice(this.#drawnTo) : '');
    return this.#drawnTo >= text.length;
  }

  /** Remove all, because another reply is to be shown. */
  clear() {
    this.#element.replaceChildren();
    this.#shown = [];
    this.#point = this.#rest = null;
    this.#place = { position: 0, index: 0 };
    this.#drawnTo = 0;
  }

  /** @param {readonly Block[]} wanted @returns {number} how many of the first blocks are shown as they are */
  #countSame(wanted) {
    const different = this.#shown.findIndex(({ block }, i) => !isSame(block, wanted[i]));
    return different < 0 ? this.#shown.length : different;
  }

  /** @param {number} from the first block that differs @param {readonly Block[]} wanted */
  #replace(from, wanted) {
    const gone = this.#shown.splice(wanted.length);
    for (const { elements } of gone) elements.forEach((element) => outermost(element).remove());
    for (let i = from; i < wanted.length; i++) {
      const block = /** @type {Block} */ (wanted[i]);
      const before = this.#shown[i]?.elements ?? [];
      this.#shown[i] = { block, elements: this.#show(parse(block), before, i) };
    }
    const last = this.#shown.at(-1);
    this.#point = last && last.block.close !== null ? insertionPoint(last.elements.at(-1)) : null;
  }

  /**
   * Show a block in the place of what was shown of it before.
   *
   * @param {DocumentFragment} fresh
   * @param {readonly Element[]} before
   * @param {number} index the block's among those that are shown
   * @returns {Element[]} its elements in the document
   */
  #show(fresh, before, index) {
    this.#finish.clean(fresh);
    let previous = this.#shown.slice(0, index).findLast(({ elements }) => elements.length > 0)?.elements.at(-1);
    const shown = [...fresh.children].map((element, i) => {
      const old = before[i];
      const stays = old?.localName === element.localName;
      if (old && stays) {
        morph(old, element);
        this.#finish.furnish(outermost(old));
      } else this.#insert(element, previous);
      previous = old && stays ? old : element;
      return previous;
    });
    for (const element of before) if (!shown.includes(element)) outermost(element).remove();
    return shown;
  }

  /** @param {Element} element @param {Element | undefined} previous the one that it follows; undefined for the first */
  #insert(element, previous) {
    const added = document.createDocumentFragment();
    added.append(element);
    this.#finish.furnish(added);
    if (previous) outermost(previous).after(added);
    else this.#element.prepend(added);
  }

  /** Draw what follows the last block and means only itself, and the caret behind it. @param {string} text @param {boolean} running */
  #drawText(text, running) {
    const last = this.#shown.at(-1);
    const to = this.#indexOf(last?.block.to ?? 0, text);
    const point = running ? this.#point : null;
    const parent = point?.parentElement;
    if (!running) this.#caret.remove();
    const isText = last?.block !== BEGINNING || PARAGRAPH.test(text);
    if (point && parent && isText && isTextContainer(parent)) {
      // The caret stands behind the point exactly as long as nothing has been replaced.
      // A block that a request has brought may have text that is not here yet, so its end may be found later.
      const from = this.#caret.previousSibling === point ? Math.max(this.#drawnTo, to) : to;
      this.#drawnTo = from + safeLength(text, from, parent.closest('code') !== null);
      const added = text.slice(from, this.#drawnTo);
      const { previousSibling } = point;
      if (added && previousSibling instanceof Text) previousSibling.appendData(added);
      else if (added) point.before(added);
      if (this.#caret.previousSibling !== point) point.after(this.#caret);
      return;
    }
    this.#drawnTo = to;
    const end = running && last ? endOf(last.elements.at(-1)) : null;
    if (end && this.#caret.parentNode !== end) end.append(this.#caret);
  }

  /** @param {number} position @param {string} text @returns {number} its index in the text, counted on from the last one */
  #indexOf(position, text) {
    if (position < this.#place.position) this.#place = { position: 0, index: 0 };
    const before = this.#place;
    if (position > before.position) {
      const index = before.index + indexOfCodePoint(text.slice(before.index), position - before.position);
      if (index === text.length) return index;
      this.#place = { position, index };
    }
    return this.#place.index;
  }

  /** @param {string} text */
  #drawRest(text) {
    if (text.trim() === '') {
      this.#rest?.remove();
      this.#rest = null;
      return;
    }
    if (!this.#rest) {
      this.#rest = document.createElement('div');
      this.#rest.className = 'rest';
      this.#rest.dir = 'auto';
      this.#element.append(this.#rest);
    }
    this.#rest.textContent = text;
  }
}

/**
 * Return the blocks of a document that the service rendered. Each says by `data-end` at which position of the text it ends
 * (PROTOCOL.md section 2).
 *
 * @param {string} html of the document
 * @param {boolean} ended whether it is of the whole reply; else the last block, which may yet become another one, is open,
 *   and it is left out if it shows a mark that may be half
 * @returns {Block[]}
 */
export function blocksOf(html, ended) {
  const elements = [...new DOMParser().parseFromString(html, 'text/html').body.children];
  let from = 0;
  /** @type {Block[]} */
  const blocks = elements.map((element) => {
    const to = Number(element.getAttribute('data-end') ?? from);
    const block = { from, to, html: element.outerHTML, close: null };
    from = to;
    return block;
  });
  const [last, element] = [blocks.at(-1), elements.at(-1)];
  if (ended || !last || !element) return blocks;
  for (const each of element.querySelectorAll('code, math')) each.remove();
  if (MARKS.test(element.matches('pre') ? '' : element.textContent ?? '')) return blocks.slice(0, -1);
  const close = CLOSING.exec(last.html)?.[0] ?? '';
  return [...blocks.slice(0, -1), { ...last, html: last.html.slice(0, last.html.length - close.length), close }];
}

/**
 * Return whether blocks are those of a whole text.
 *
 * @param {readonly Block[]} blocks
 * @param {number} position where the text ends
 * @returns {boolean}
 */
export function isWhole(blocks, position) {
  return blocks.length > 0 && unfinishedFrom(blocks) >= position;
}

/** @param {Block} block @param {Block | undefined} other */
function isSame(block, other) {
  if (block === other) return true;
  return block.from === other?.from && block.to === other.to && block.html === other.html && block.close === other.close;
}

/** Return a block's elements, with a comment where text is to be inserted. @param {Block} block @returns {DocumentFragment} */
function parse({ html, close }) {
  // Other than an element, a comment may stand anywhere, also between the rows of a table.
  const whole = close === null ? html : `${html}<!---->${close}`;
  const { body } = new DOMParser().parseFromString(whole, 'text/html');
  const fragment = document.createDocumentFragment();
  fragment.append(...body.children);
  return fragment;
}

/** Return what the page has put around an element, or the element itself. @param {Element} element @returns {Element} */
function outermost(element) {
  const parent = element.parentElement;
  return parent?.matches('.code, .wide') ? parent : element;
}
