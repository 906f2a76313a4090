/**
 * Positions in a reply, counted in Unicode code points so that they mean the same in every language
 * and on every client (PROTOCOL.md section 1). JavaScript strings count UTF-16 units; all conversion
 * between the two stands in this module. Pure: values in, values out.
 */

/** The error of a text that does not join what the reader has: something between was lost. */
export class Gap extends Error {
  /**
   * @param {number} position where the reader's text ends, in code points
   * @param {number} start where the new text begins, in code points
   */
  constructor(position, start) {
    super(`text from ${start} does not follow position ${position}`);
    this.name = 'Gap';
  }
}

/**
 * Count the code points of a text that has no lone surrogates, as text from a UTF-8 decoder never has.
 *
 * @param {string} text
 * @returns {number}
 */
export function countCodePoints(text) {
  let count = text.length;
  for (let i = 0; i < text.length - 1; i++) {
    // A high surrogate is always followed by its low one here, so two units are one code point.
    if ((text.charCodeAt(i) & 0xfc00) === 0xd800) {
      count--;
      i++;
    }
  }
  return count;
}

/**
 * Return the UTF-16 index at which a code point of a text starts.
 *
 * @param {string} text
 * @param {number} n the number of code points before it; past the end, the text's length is returned
 * @returns {number}
 */
export function indexOfCodePoint(text, n) {
  let index = 0;
  for (; n > 0 && index < text.length; n--) index += (text.codePointAt(index) ?? 0) > 0xffff ? 2 : 1;
  return index;
}

/**
 * Return the part of a received text that the reader does not have yet. A reader that drops the rest
 * has the text exactly once, across reconnects and transports (the promise of PROTOCOL.md section 1).
 *
 * @param {number} position where the reader's text ends, in code points
 * @param {string} text
 * @param {number} end the position at which `text` ends
 * @returns {string} empty if the reader has all of it
 * @throws {Gap} when `text` begins after `position`
 */
export function newText(position, text, end) {
  if (end <= position) return '';
  const start = end - countCodePoints(text);
  if (start > position) throw new Gap(position, start);
  return start === position ? text : text.slice(indexOfCodePoint(text, position - start));
}

/**
 * Parse a cursor: `<reply>:<n>` with a position, `<reply>:@<m>` with an offset, or `<reply>:end` with neither
 * (PROTOCOL.md section 1).
 *
 * @param {string} cursor
 * @returns {{reply: string, position: number | null, offset: number | null} | null} null if it is not a cursor
 */
export function parseCursor(cursor) {
  const match = /^([A-Za-z0-9_-]+):(?:(\d+)|@(\d+)|end)$/.exec(cursor);
  if (!match) return null;
  const [, reply = '', position, offset] = match;
  return { reply, position: position ? Number(position) : null, offset: offset ? Number(offset) : null };
}
