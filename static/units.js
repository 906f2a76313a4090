/**
 * What comes of a reply, and how far a reader is in it (PROTOCOL.md section 1, "Parts"). Pure: values in, values out.
 *
 * A reply is a log of units: code points of the answer's text, code points of a side part's text, and marks that begin
 * and end side parts. An offset counts all of them, a position only those of the answer's text.
 *
 * @import { Block } from './rendered-blocks.js'
 *
 * @typedef {{type: 'part', part: number, kind: string, members: Record<string, unknown>}
 *   | {type: 'delta', part: number, text: string}
 *   | {type: 'close', part: number, members: Record<string, unknown>}
 *   | {type: 'unknown'}} Unit
 *   A mark, or text. `part`: a side part begins, with these members; `delta`: text of a part, where part 0 is the
 *   answer; `close`: a side part ends, with the members that are known only then; `unknown`: what a later version of the
 *   service has.
 *
 * @typedef {{type: 'text', text: string, position: number}
 *   | {type: 'unit', unit: Unit, offset: number, resumed: boolean}
 *   | {type: 'block', block: Block}} Arrival
 *   What a reading brings. `text`: characters of the answer alone, and the position behind them; `unit`: a unit of all
 *   parts, and the offset behind it. A mark that is `resumed` is no unit: its part was open where the reading began.
 *   `block`: how some of the answer looks, which is no unit either.
 *
 * @typedef {object} Place
 *   How far a reader is. It has all units up to an offset, and of the answer's text perhaps more: a reading of characters
 *   brings text alone, and leaves the side parts between for a later reading.
 * @property {number} offset the offset up to which all units are here
 * @property {number} offsetPosition the position at that offset
 * @property {number} position the position up to which the answer's text is here, at least `offsetPosition`
 */
import { countCodePoints, Gap, newText } from './position.js';

/** The number of the part that is the answer's text. */
export const ANSWER = 0;

/** The most UTF-16 units that a character of the service has, and more (PROTOCOL.md section 1). */
const MAX_CHARACTER_LENGTH = 1024;
const graphemes = new Intl.Segmenter('und', { granularity: 'grapheme' });

/** The place of a reader who has nothing. @type {Readonly<Place>} */
export const START = { offset: 0, offsetPosition: 0, position: 0 };

/**
 * Take what is new of an arrival.
 *
 * @param {Place} place how far the reader is
 * @param {Arrival} arrival
 * @returns {{place: Place, fresh: Arrival | null, text: string}} how far the reader is then, which is the same object
 *   if the arrival has no new unit; the arrival without what the reader had, or null if that is all of it; and the new
 *   text of the answer
 * @throws {Gap} when something is missing between the place and the arrival
 */
export function take(place, arrival) {
  if (arrival.type === 'block') return { place, fresh: arrival, text: '' };
  if (arrival.type === 'text') {
    const text = newText(place.position, arrival.text, arrival.position);
    if (!text) return { place, fresh: null, text };
    return { place: { ...place, position: arrival.position }, fresh: { ...arrival, text }, text };
  }
  const { unit, offset, resumed } = arrival;
  if (resumed) return { place, fresh: arrival, text: '' };
  if (offset <= place.offset) return { place, fresh: null, text: '' };
  if (unit.type !== 'delta') {
    // Nobody knows how many units an unknown event stands for.
    if (unit.type !== 'unknown' && offset > place.offset + 1) throw new Gap(place.offset, offset - 1);
    return { place: { ...place, offset }, fresh: arrival, text: '' };
  }
  const added = newText(place.offset, unit.text, offset);
  const fresh = { ...arrival, unit: { ...unit, text: added } };
  if (unit.part !== ANSWER) return { place: { ...place, offset }, fresh, text: '' };
  const offsetPosition = place.offsetPosition + countCodePoints(added);
  const text = newText(place.position, added, offsetPosition);
  return { place: { offset, offsetPosition, position: Math.max(place.position, offsetPosition) }, fresh, text };
}

/**
 * Join two arrivals, of which the second follows the first.
 *
 * @param {Arrival} first
 * @param {Arrival} second
 * @returns {Arrival | null} one arrival that is the same as both; null if there is none
 */
export function join(first, second) {
  if (first.type === 'block') return second.type === 'block' && second.block.from === first.block.from ? second : null;
  if (first.type === 'text') {
    return second.type === 'text' ? { ...second, text: first.text + second.text } : null;
  }
  if (second.type !== 'unit' || first.unit.type !== 'delta' || second.unit.type !== 'delta') return null;
  if (first.unit.part !== second.unit.part) return null;
  return { ...second, unit: { ...second.unit, text: first.unit.text + second.unit.text } };
}

/**
 * Return how much there is of an arrival.
 *
 * @param {Arrival} arrival
 * @returns {number} UTF-16 units; 1 for a mark or a block
 */
export function sizeOf(arrival) {
  return textOf(arrival)?.length ?? 1;
}

/**
 * Split an arrival in two, between characters (graphemes). `join` makes one of them again.
 *
 * @param {Arrival} arrival
 * @param {number} least how much the first is to have (UTF-16 units); it has more if that would tear a character
 * @returns {[Arrival, Arrival | null]} null if the first has all
 */
export function split(arrival, least) {
  const text = textOf(arrival);
  const index = text === null ? Infinity : characterEnd(text, least);
  if (text === null || index >= text.length) return [arrival, null];
  const tail = text.slice(index);
  return [withText(arrival, text.slice(0, index), countCodePoints(tail)), withText(arrival, tail, 0)];
}

/** Return the text of an arrival; null for a mark or a block. @param {Arrival} arrival */
function textOf(arrival) {
  if (arrival.type === 'text') return arrival.text;
  return arrival.type === 'unit' && arrival.unit.type === 'delta' ? arrival.unit.text : null;
}

/**
 * Return an arrival of text with a part of its text.
 *
 * @param {Arrival} arrival
 * @param {string} text
 * @param {number} behind the code points behind that part
 * @returns {Arrival}
 */
function withText(arrival, text, behind) {
  if (arrival.type === 'text') return { ...arrival, text, position: arrival.position - behind };
  if (arrival.type === 'block' || arrival.unit.type !== 'delta') return arrival;
  return { ...arrival, unit: { ...arrival.unit, text }, offset: arrival.offset - behind };
}

/** Return where the character (grapheme) ends in which an index lies. @param {string} text @param {number} index */
function characterEnd(text, index) {
  if (index >= text.length) return text.length;
  const last = graphemes.segment(text.slice(0, index + MAX_CHARACTER_LENGTH)).containing(index - 1);
  return last ? last.index + last.segment.length : text.length;
}
