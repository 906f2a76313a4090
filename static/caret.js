/** The caret, which shows where text comes next, and the places in rendered HTML where it may stand. */

/** What has blocks, rows or symbols in it, and no text of its own. */
const NO_TEXT = 'ul, ol, dl, table, thead, tbody, tr, blockquote, section, hr, .formula, math, math *';
/** What text stands in at the end of a block. */
const ENDS = 'p, h1, h2, h3, h4, h5, h6, li, td, th';

/**
 * Return a new caret: an element without text, which takes no room in its line.
 *
 * @returns {HTMLElement}
 */
export function createCaret() {
  const caret = document.createElement('span');
  caret.className = 'caret';
  caret.ariaHidden = 'true';
  return caret;
}

/**
 * Return whether text may be inserted right in an element.
 *
 * @param {Element} element
 * @returns {boolean}
 */
export function isTextContainer(element) {
  return !element.matches(NO_TEXT);
}

/**
 * Return the comment that marks where text is to be inserted. Nothing but end tags follows it.
 *
 * @param {Element | undefined} element the last one of a block
 * @returns {Comment | null} null if the block has none
 */
export function insertionPoint(element) {
  /** @type {ChildNode | null | undefined} */
  let node = element;
  while (node instanceof Element) {
    node = node.matches('.code') ? node.querySelector(':scope > pre') : lastOf(node);
  }
  return node instanceof Comment ? node : null;
}

/** @param {Element} element @returns {ChildNode | null} its last child that is no white space */
function lastOf(element) {
  let node = element.lastChild;
  while (node instanceof Text && node.data.trim() === '') node = node.previousSibling;
  return node;
}

/**
 * Return the element at the end of a block in which its last text stands.
 *
 * @param {Element | undefined} element the last one of the block
 * @returns {Element | null} null if there is none, as in a formula, and for code, which ends with a line end
 */
export function endOf(element) {
  let found = null;
  for (let node = element ?? null; node; node = node.lastElementChild) {
    if (node.matches('pre, .code, .formula')) return null;
    if (node.matches(ENDS)) found = node;
  }
  return found;
}
