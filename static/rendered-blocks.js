/**
 * The rendered blocks of a reply as values: its Markdown as HTML, block by block, the open block too (PROTOCOL.md section
 * 4, "Rendered blocks"). Pure.
 *
 * Invariants:
 * - The blocks of a list follow each other: each begins at or behind the end of the one before.
 * - Only the last of a list may be open.
 *
 * @typedef {object} Block
 *   One block of the top level, as HTML that the service has made safe.
 * @property {number} from the position (code points of the answer's text) at which it begins
 * @property {number} to the position up to which the text is in its HTML
 * @property {string} html
 * @property {string | null} close the end tags behind `html` of a block that is open: text that comes stands between
 *   the two; null for a block that is finished
 */

/** The decoder of the block events of one reading: each may say of the block before only what has changed. */
export class BlockDecoder {
  /** The block that was decoded last. @type {Block | null} */
  #last = null;

  /**
   * Decode one event.
   *
   * @param {Record<string, unknown>} event the object of an event of type `block`
   * @returns {Block | null} null if it can't be read, or continues a block that this reading has not brought
   */
  decode({ from, to, keep = 0, html, close = null }) {
    if (typeof from !== 'number' || typeof to !== 'number' || typeof keep !== 'number' || typeof html !== 'string') return null;
    if (close !== null && typeof close !== 'string') return null;
    const before = this.#last?.from === from ? this.#last.html : '';
    if (keep > before.length) return null;
    this.#last = { from, to, html: before.slice(0, keep) + html, close };
    return this.#last;
  }
}

/**
 * Return the blocks after one has come, which replaces all that begin where it does and behind that.
 *
 * @param {readonly Block[]} blocks
 * @param {Block} block
 * @returns {readonly Block[]}
 */
export function putBlock(blocks, block) {
  const index = blocks.findLastIndex(({ from }) => from < block.from);
  return [...blocks.slice(0, index + 1), block];
}

/**
 * Return where the block begins that a later reading has to bring first, because what is before it is finished.
 *
 * @param {readonly Block[]} blocks
 * @returns {number} a position
 */
export function unfinishedFrom(blocks) {
  const last = blocks.at(-1);
  return last ? (last.close === null ? last.to : last.from) : 0;
}

/**
 * Return the HTML of a whole text.
 *
 * @param {readonly Block[]} blocks
 * @param {number} position where the text ends
 * @returns {string | null} null if a part of it is not rendered, or not finished
 */
export function wholeHTML(blocks, position) {
  const whole = blocks[0]?.from === 0 && unfinishedFrom(blocks) >= position;
  return whole ? blocks.map(({ html }) => html).join('') : null;
}
