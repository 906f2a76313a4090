import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arrange, closeParts, growParts, withoutContents } from '../../../static/parts.js';
import { close, delta, part, text } from './scripted.js';

const timed = (...arrivals) => arrivals.map((arrival, at) => ({ arrival, at }));
const grown = (...arrivals) => growParts([], timed(...arrivals));
const source = (offset, number, url, title) => part(offset, number, 'source', { url, title });

test('a thought grows and ends, and it is known how long it took', () => {
  const parts = grown(part(1, 1, 'reasoning'), delta(3, 1, 'Le'), delta(4, 1, 't'), close(5, 1, { signature: 's' }));
  assert.deepEqual(parts, [
    { part: 1, kind: 'reasoning', members: {}, text: 'Let', open: false, begunAt: 0, endedAt: 3 },
  ]);
});

test('the answer and what nobody knows change nothing', () => {
  const parts = grown(part(1, 1, 'reasoning'));
  const unknown = { type: 'unit', unit: { type: 'unknown' }, offset: 9, resumed: false };
  for (const arrival of [text('a', 0), delta(2, 0, 'a'), delta(2, 7, 'a'), close(2, 7), unknown, part(2, 2, 'of a later version'),
    part(2, 2, 'extra', { value: {} }), part(2, 2, 'reasoning', { signature: 's' }), part(1, 1, 'reasoning', {}, true)]) {
    assert.equal(growParts(parts, timed(arrival)), parts, JSON.stringify(arrival));
  }
});

test('a part that was not seen to begin has no time, and goes on', () => {
  const parts = growParts([], [{ arrival: part(4, 1, 'reasoning', {}, true), at: null }, { arrival: delta(5, 1, 'x'), at: 5 }]);
  assert.deepEqual([parts[0].begunAt, parts[0].text, parts[0].open], [null, 'x', true]);
});

test('calls grow side by side, and each has its result', () => {
  const parts = grown(
    part(1, 1, 'tool_call', { id: 'a', name: 'one', metadata: { opaque: 1 } }), part(2, 2, 'tool_call', { id: 'b', name: 'two' }),
    delta(3, 1, '{'), delta(4, 2, '['), delta(5, 1, '}'), delta(6, 2, ']'), close(7, 2), close(8, 1),
    part(9, 3, 'tool_result', { id: 'b', result: 2, error: true }), part(10, 4, 'tool_result', { id: 'z', result: 3 }));
  const { steps } = arrange(parts);
  assert.deepEqual(steps.map(({ part: { members, text }, results }) => [members, text, results.map(({ members: { result } }) => result)]), [
    [{ id: 'a', name: 'one' }, '{}', []], [{ id: 'b', name: 'two' }, '[]', [2]], [{ id: 'z', result: 3 }, '', []],
  ]);
});

test('a value takes the place of the one with its name and id, and of no other', () => {
  const data = (offset, name, value, id) => part(offset, offset, 'data', id === undefined ? { name, value } : { name, value, id });
  const parts = grown(data(1, 'a', 1, 'x'), data(2, 'b', 2, 'x'), data(3, 'a', 3), data(4, 'a', 4), data(5, 'a', 5, 'x'));
  assert.deepEqual(parts.map(({ part: number, members: { value } }) => [number, value]), [[1, 5], [2, 2], [3, 3], [4, 4]]);
});

test('sources are numbered by their addresses, files come in order', () => {
  const file = (offset, url) => part(offset, offset, 'file', { media_type: 'image/png', url, name: 'n' });
  const parts = grown(source(1, 1, 'https://a/', 'A'), file(2, 'data:,x'), source(3, 3, 'https://b/'), source(4, 4, 'https://a/', 'again'), file(5, 'https://c/'));
  const { steps, sources, files } = arrange(parts);
  assert.deepEqual([steps, sources.map(({ members: { title } }) => title), files.length], [[], ['A', undefined], 2]);
  assert.deepEqual(arrange(withoutContents(parts)).files.map(({ members: { url } }) => url), ['', 'https://c/']);
});

test('the end closes what is open, and nothing else is touched', () => {
  const open = grown(part(1, 1, 'reasoning'), part(2, 2, 'data', { name: 'n', value: 1 }));
  const closed = closeParts(open, 9);
  assert.deepEqual([closed[0].open, closed[0].endedAt, closed[1] === open[1]], [false, 9, true]);
  assert.equal(closeParts(closed, 10), closed);
});

test('a long thought costs as much for each piece as a short one', () => {
  const time = (count) => {
    const before = performance.now();
    let parts = grown(part(1, 1, 'reasoning'));
    for (let i = 0; i < count; i++) parts = growParts(parts, timed(delta(i + 2, 1, 'x')));
    assert.equal(parts[0].text.length, count);
    return performance.now() - before;
  };
  time(5000);
  const [short, long] = [time(5000), time(100_000)];
  assert.ok(long < 20 * 8 * Math.max(short, 1), `${short} ms, then ${long} ms`);
});
