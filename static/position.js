/**
 * Positions in a reply: counted in Unicode code points, so that they mean the same in every language
 * (PROTOCOL.md section 1). JavaScript counts UTF-16 units; all the difference is kept in this file.
 */

/** A piece of text does not join what is here already: something between was lost. */
export class Gap extends Error {
  /**
   * @param {number} have
   * @param {number} from
   */
  constructor(have, from) {
    super(`text from ${from} does not follow position ${have}`);
    this.name = 'Gap';
  }
}

/**
 * The number of code points in a text.
 *
 * @param {string} text
 */
export function codePoints(text) {
  let count = text.length;
  for (let i = 0; i < text.length - 1; i++) {
    // A low surrogate always follows its high one here: the decoder lets no lone one through.
    if ((text.charCodeAt(i) & 0xfc00) === 0xd800) {
      count--;
      i++;
    }
  }
  return count;
}

/**
 * The UTF-16 index at which the code point number `n` of a text starts.
 *
 * @param {string} text
 * @param {number} n
 */
export function indexOf(text, n) {
  let index = 0;
  for (; n > 0 && index < text.length; n--) index += (text.codePointAt(index) ?? 0) > 0xffff ? 2 : 1;
  return index;
}

/**
 * What is new in `text`, which ends at position `to`, for one who has everything up to `have`.
 * A client that drops what it has gets the text exactly once, across reconnects and transports.
 *
 * @param {number} have
 * @param {string} text
 * @param {number} to
 * @returns {string}
 * @throws {Gap}
 */
export function newText(have, text, to) {
  if (to <= have) return '';
  const from = to - codePoints(text);
  if (from > have) throw new Gap(have, from);
  return from === have ? text : text.slice(indexOf(text, have - from));
}

/**
 * Takes a cursor apart: `<reply>:<n>` or `<reply>:end`, whose position is null.
 *
 * @param {string} cursor
 * @returns {{reply: string, position: number | null} | null} null if it is no cursor
 */
export function parseCursor(cursor) {
  const match = /^([A-Za-z0-9_-]+):(\d+|end)$/.exec(cursor);
  if (!match) return null;
  return { reply: match[1] ?? '', position: match[2] === 'end' ? null : Number(match[2]) };
}
