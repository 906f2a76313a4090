import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockDecoder, putBlock, unfinishedFrom, wholeHTML } from '../../../static/rendered-blocks.js';

const block = (from, to, html, close = null) => ({ from, to, html, close });
const event = (from, to, html, more = {}) => ({ type: 'block', from, to, html, ...more });

test('an event says what has changed since the block before', () => {
  const decoder = new BlockDecoder();
  assert.deepEqual(decoder.decode(event(0, 2, '<p>ab', { close: '</p>' })), block(0, 2, '<p>ab', '</p>'));
  assert.deepEqual(decoder.decode(event(0, 6, ' <b>c', { keep: 5, close: '</b></p>' })), block(0, 6, '<p>ab <b>c', '</b></p>'));
  assert.deepEqual(decoder.decode(event(0, 7, '</p>', { keep: 5 })), block(0, 7, '<p>ab</p>'));
  assert.deepEqual(decoder.decode(event(7, 9, '<p>new', { close: '</p>' })), block(7, 9, '<p>new', '</p>'));
});

test('what continues a block that has not come, or is no block, is dropped', () => {
  const decoder = new BlockDecoder();
  assert.equal(decoder.decode(event(0, 2, 'x', { keep: 1 })), null);
  decoder.decode(event(0, 2, '<p>ab', { close: '</p>' }));
  for (const wrong of [event(3, 4, 'x', { keep: 2 }), event(0, 4, 'x', { keep: 99 }), event('0', 1, ''), event(0, 1, null), event(0, 1, '', { close: 1 })]) {
    assert.equal(decoder.decode(wrong), null);
  }
  assert.equal(decoder.decode(event(0, 3, 'c', { keep: 5, close: '</p>' })).html, '<p>abc');
});

test('a block replaces all that begin where it does and behind that', () => {
  const all = [block(0, 3, 'a'), block(3, 5, 'b'), block(5, 6, 'c', '')].reduce(putBlock, []);
  assert.deepEqual(all.map(({ html }) => html), ['a', 'b', 'c']);
  assert.deepEqual(putBlock(all, block(5, 7, 'd')).map(({ html }) => html), ['a', 'b', 'd']);
  assert.deepEqual(putBlock(all, block(0, 3, 'e')).map(({ html }) => html), ['e']);
});

test('what is finished is not asked for again, and the whole is known', () => {
  const open = [block(0, 3, 'a'), block(3, 5, 'b', '')];
  const whole = [block(0, 3, 'a'), block(3, 5, 'b')];
  assert.deepEqual([[], open, whole].map(unfinishedFrom), [0, 3, 5]);
  assert.deepEqual([wholeHTML([], 0), wholeHTML(open, 5), wholeHTML(whole, 6), wholeHTML(whole, 5)], [null, null, null, 'ab']);
  assert.equal(wholeHTML(whole.slice(1), 5), null);
});
