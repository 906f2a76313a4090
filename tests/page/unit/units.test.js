import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Gap } from '../../../static/position.js';
import { join, START, take } from '../../../static/units.js';
import { close, delta, part, text } from './scripted.js';

/** A reply as single units: a thought, text, a call in the text, more text. */
const UNITS = [
  ['mark', 1], ...[...'想👍a'].map((point) => [1, point]), ['close', 1], ...[...'你👩‍👧!'].map((point) => [0, point]),
  ['mark', 2], [2, '{'], [0, 'é'], [2, '}'], ['close', 2], [0, '🇨'], [0, '🇳'],
];
const ANSWER = UNITS.filter(([what]) => what === 0).map(([, point]) => point).join('');

/** The arrivals behind an offset, cut into events by a function that says where a text is cut. */
function arrivals(after, cuts) {
  const found = [];
  for (let at = after; at < UNITS.length; at++) {
    const [what, value] = UNITS[at];
    const last = found.at(-1);
    if (what === 'mark') found.push(part(at + 1, value, 'reasoning'));
    else if (what === 'close') found.push(close(at + 1, value));
    else if (last?.unit.type === 'delta' && last.unit.part === what && !cuts(at)) {
      found[found.length - 1] = delta(at + 1, what, last.unit.text + value);
    } else found.push(delta(at + 1, what, value));
  }
  return found;
}

/** Take arrivals, and return the place, the units that were new, and the text. */
function takeAll(place, all) {
  let shown = '';
  let units = 0;
  for (const arrival of all) {
    const taken = take(place, arrival);
    units += taken.place.offset - place.offset;
    place = taken.place;
    shown += taken.text;
  }
  return { place, shown, units };
}

test('however a reply is cut and read again, each unit is taken once, and so is the text', () => {
  for (let seed = 1; seed < 60; seed++) {
    const cuts = (at) => (at * 7919 * seed) % 5 < 2;
    const first = arrivals(0, cuts);
    for (let count = 0; count <= first.length; count++) {
      const one = takeAll(START, first.slice(0, count));
      for (const back of [0, 1, 2, one.place.offset]) {
        const from = Math.max(0, one.place.offset - back);
        const two = takeAll(one.place, arrivals(from, (at) => !cuts(at)));
        assert.equal(one.shown + two.shown, ANSWER);
        assert.equal(one.units + two.units, UNITS.length);
        assert.deepEqual(two.place, { offset: UNITS.length, offsetPosition: [...ANSWER].length, position: [...ANSWER].length });
      }
    }
  }
});

test('characters in between bring text alone, and the parts come from the offset', () => {
  const never = () => false;
  for (let count = 0; count <= 6; count++) {
    const before = takeAll(START, arrivals(0, never).slice(0, count));
    const { position } = before.place;
    for (let to = position; to <= [...ANSWER].length; to++) {
      const characters = takeAll(before.place, [text(ANSWER, position, to)]);
      assert.equal(characters.place.offset, before.place.offset);
      const rest = takeAll(characters.place, arrivals(before.place.offset, never));
      assert.equal(before.shown + characters.shown + rest.shown, ANSWER);
      assert.equal(before.units + rest.units, UNITS.length);
    }
  }
});

test('a gap is an error, whatever is missing', () => {
  for (const arrival of [part(2, 1, 'reasoning'), close(2, 1), delta(3, 0, 'x'), delta(3, 1, 'x'), text('abc', 1)]) {
    assert.throws(() => take(START, arrival), Gap);
  }
});

test('a mark that is resumed is no unit, and an event that nobody knows is no gap', () => {
  const place = { offset: 5, offsetPosition: 2, position: 2 };
  const resumed = part(5, 1, 'reasoning', {}, true);
  assert.deepEqual(take(place, resumed), { place, fresh: resumed, text: '' });
  const unknown = { type: 'unit', unit: { type: 'unknown' }, offset: 9, resumed: false };
  assert.deepEqual(take(place, unknown).place, { ...place, offset: 9 });
  assert.equal(take(place, { ...unknown, offset: 5 }).fresh, null);
});

test('arrivals of one text are joined, and no others', () => {
  assert.deepEqual(join(text('ab', 0, 1), text('ab', 1)), text('ab', 0));
  assert.deepEqual(join(delta(1, 1, 'a'), delta(2, 1, 'b')), delta(2, 1, 'ab'));
  const others = [text('a', 0), delta(1, 1, 'a'), part(1, 1, 'reasoning'), close(1, 1)];
  for (const one of others) {
    for (const other of others) if (one !== other) assert.equal(join(one, other), null);
  }
  assert.equal(join(delta(1, 1, 'a'), delta(2, 0, 'b')), null);
  assert.equal(join(part(1, 1, 'reasoning'), part(2, 2, 'data')), null);
});
