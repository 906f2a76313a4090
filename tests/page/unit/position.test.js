import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countCodePoints, Gap, indexOfCodePoint, newText, parseCursor } from '../../../static/position.js';

const samples = ['', 'abc', '你好', '👩‍👩‍👧‍👦!', 'a👍🏽b', '🇨🇳🇨🇳', 'שלום\n  x'];

test('code points are counted, not UTF-16 units', () => {
  for (const sample of samples) assert.equal(countCodePoints(sample), [...sample].length);
});

test('an index is where the code point stands', () => {
  for (const sample of samples) {
    for (let n = 0; n <= countCodePoints(sample); n++) assert.equal(sample.slice(0, indexOfCodePoint(sample, n)), [...sample].slice(0, n).join(''));
  }
});

test('however a text is cut and repeated, it is taken exactly once', () => {
  for (const sample of samples) {
    const points = [...sample];
    for (let have = 0; have <= points.length; have++) {
      for (let from = 0; from <= have; from++) {
        for (let to = from; to <= points.length; to++) {
          assert.equal(newText(have, points.slice(from, to).join(''), to), points.slice(have, to).join(''));
        }
      }
    }
  }
});

test('a gap is an error, never a text with a hole', () => {
  assert.throws(() => newText(1, 'c', 3), Gap);
});

test('a cursor is a reply and a position, an offset or the end', () => {
  assert.deepEqual(parseCursor('a-_9:12'), { reply: 'a-_9', position: 12, offset: null });
  assert.deepEqual(parseCursor('a:@0'), { reply: 'a', position: null, offset: 0 });
  assert.deepEqual(parseCursor('a:end'), { reply: 'a', position: null, offset: null });
  for (const bad of ['', 'a', 'a:', ':1', 'a:-1', 'a:1.5', 'a:1:2', 'a:@', 'a:@-1', 'a:1@2']) assert.equal(parseCursor(bad), null);
});
