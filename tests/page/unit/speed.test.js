import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Speed } from '../../../static/speed.js';

test('the rate counts characters since the first text, which was there when reading began', () => {
  const speed = new Speed(1000);
  speed.add('你好👍', 1250);
  assert.deepEqual([speed.firstMs, speed.rate], [250, null]);
  speed.add('👍🏽', 1350);
  assert.equal(speed.rate, null);
  speed.add('ab', 1750);
  assert.deepEqual([speed.firstMs, speed.rate], [250, 8]);
  speed.finish(9000);
  assert.equal(speed.rate, 8);
});

test('a short reply has its rate since the request, and an empty one has none', () => {
  const speed = new Speed(0);
  speed.finish(100);
  assert.equal(speed.rate, null);
  speed.add('abc', 100);
  speed.finish(100);
  assert.equal(speed.rate, 30);
});
