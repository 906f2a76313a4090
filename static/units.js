/**
 * What comes of a reply, and how far a reader is in it (PROTOCOL.md section 1, "Parts"). Pure: values in, values out.
 *
 * A reply is a log of units: code points of the answer's text, code points of a side part's text, and marks that begin
 * and end side parts. An offset counts all of them, a position only those of the answer's text.
 *
 * @import { Block } from './blocks.js'
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
