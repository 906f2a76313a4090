import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Smoothing, SPREAD_MS } from '../../../static/smoothing.js';
import { join, split } from '../../../static/units.js';

const FRAME_MS = 16;

/** Text as a transport of characters brings it. */
const text = (text, position = [...text].length, at = 1) => ({ arrival: { type: 'text', text, position }, at });
const mark = (offset) => ({ arrival: { type: 'unit', unit: { type: 'part', part: 1, kind: 'reasoning', members: {} }, offset, resumed: false }, at: 1 });
const lengthOf = (released) => released.reduce((sum, { arrival }) => sum + (arrival.text?.length ?? 1), 0);

test('a burst goes on evenly, and is out after its time', () => {
  const smoothing = new Smoothing();
  smoothing.add(text('x'.repeat(500)), 0);
  const sizes = [];
  let now = 0;
  for (now = FRAME_MS; !smoothing.empty; now += FRAME_MS) sizes.push(lengthOf(smoothing.release(now)));
  assert.ok(now - FRAME_MS < SPREAD_MS + FRAME_MS);
  assert.equal(sizes.reduce((sum, size) => sum + size), 500);
  const even = 500 * (FRAME_MS / SPREAD_MS);
  assert.ok(sizes.every((size) => size <= even + 1), String(sizes));
});

test('what comes alone waits for nothing', () => {
  const smoothing = new Smoothing();
  for (let now = 0; now < 1000; now += 100) {
    smoothing.add(text('x', now), now);
    assert.equal(lengthOf(smoothing.release(now)), 1);
    assert.ok(smoothing.empty);
  }
});

test('nothing waits for longer than the time of a burst, however fast more comes', () => {
  const smoothing = new Smoothing();
  let out = 0;
  for (let now = 0; now < 1000; now += FRAME_MS) {
    smoothing.add(text('x'.repeat(100), now), now);
    out += lengthOf(smoothing.release(now));
    const least = 100 * Math.max(0, Math.floor((now - SPREAD_MS) / FRAME_MS) + 1);
    assert.ok(out >= least, `${out} of ${least} at ${now}`);
  }
});

test('what was out before is not spread, and at the end nothing is', () => {
  const smoothing = new Smoothing();
  smoothing.add(text('fresh', 5), 0);
  smoothing.add(text('x'.repeat(5000), 5005, null), 1);
  assert.equal(lengthOf(smoothing.release(2)), 5005);
  smoothing.add(text('x'.repeat(5000)), 3);
  assert.equal(lengthOf(smoothing.release(Infinity)), 5000);
  assert.ok(smoothing.empty);
});

test('joined again it is what came, in order, with no character torn', () => {
  const written = '你好 👩‍👩‍👧‍👦🇨🇳 e\u0301 नमस्ते '.repeat(20);
  const smoothing = new Smoothing();
  smoothing.add(mark(1), 0);
  smoothing.add(text(written), 0);
  const released = [];
  for (let now = 1; !smoothing.empty; now++) released.push(...smoothing.release(now).map(({ arrival }) => arrival));
  assert.deepEqual(released.shift(), mark(1).arrival);
  assert.ok(released.length > 20);
  const segmenter = new Intl.Segmenter('und');
  const whole = new Set([...segmenter.segment(written)].map(({ index }) => index));
  let index = 0;
  let position = 0;
  for (const { text: piece, position: end } of released) {
    assert.ok(whole.has(index));
    index += piece.length;
    position += [...piece].length;
    assert.equal(end, position);
  }
  assert.deepEqual(released.reduce(join), text(written).arrival);
});

test('a unit is split as text is, and a mark is not', () => {
  const unit = { type: 'unit', unit: { type: 'delta', part: 2, text: 'a👍b' }, offset: 13, resumed: false };
  const [head, tail] = split(unit, 2);
  assert.deepEqual([head.unit.text, head.offset], ['a👍', 12]);
  assert.deepEqual([tail.unit.text, tail.offset], ['b', 13]);
  assert.deepEqual(join(head, tail), unit);
  assert.deepEqual(split(unit, 3), split(unit, 2));
  assert.deepEqual(split(unit, 4), [unit, null]);
  assert.deepEqual(split(mark(3).arrival, 1), [mark(3).arrival, null]);
});
