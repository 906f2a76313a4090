import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventInterpreter } from '../../../static/transports/stream-events.js';
import { close, delta, end, part } from './scripted.js';

/** Return what events mean: each is its id and its data, perhaps with a name. */
function meaning(...events) {
  const emitted = [];
  const interpreter = new EventInterpreter((event) => emitted.push(event));
  for (const [id, data, name = 'message'] of events) interpreter.receive(name, id, data);
  return emitted;
}

const PARTS = [
  ['r:@1', { type: 'part', part: 1, kind: 'tool_call', id: 'c', name: 'n' }],
  ['r:@2', { type: 'delta', part: 1, text: '{' }],
  ['r:@3', { type: 'close', part: 1, metadata: 1 }],
  ['r:@4', { type: 'delta', part: 0, text: '你' }],
  ['r:end', { type: 'end', state: 'done', finish_reason: 'length', usage: {} }],
  ['r:end', '[DONE]'],
];
const MEANING = [
  part(1, 1, 'tool_call', { id: 'c', name: 'n' }), delta(2, 1, '{'), close(3, 1, { metadata: 1 }), delta(4, 0, '你'), end('done', 'length'),
];

test('all parts, as objects and as their JSON', () => {
  assert.deepEqual(meaning(...PARTS), MEANING);
  assert.deepEqual(meaning(...PARTS.map(([id, data]) => [id, typeof data === 'string' ? data : JSON.stringify(data)])), MEANING);
});

test('what is no object is a character, of a node of an older version', () => {
  for (const character of ['{', '"', '1', '[', 'n', '你', '\n', '{\u0301']) {
    assert.deepEqual(meaning(['r:9', character]), [{ type: 'text', text: character, position: 9 }]);
  }
  assert.deepEqual(meaning(['r:1', 'a'], ['r:end', '{"type":"/problems/x"}', 'failed'], ['r:end', '[DONE]']).at(-1),
    { ...end('failed'), problem: { type: '/problems/x' } });
});

test('why it failed stands in the end', () => {
  const problem = { type: '/problems/backend-failed', reason: 'busy' };
  assert.deepEqual(meaning(['r:end', { type: 'end', state: 'failed', finish_reason: 'error', problem }], ['r:end', '[DONE]']),
    [{ ...end('failed', 'error'), problem }]);
});

test('a mark that is resumed says so, and what a later version has is passed over', () => {
  assert.deepEqual(meaning(['r:@4', { type: 'part', part: 1, kind: 'reasoning', resumed: true }]), [part(4, 1, 'reasoning', {}, true)]);
  const unknown = { type: 'unit', unit: { type: 'unknown' }, offset: 4, resumed: false };
  for (const data of [{ type: 'new', part: 1 }, { type: 'delta', part: 1, text: 3 }, { type: 'part', part: 1 }, { type: 'part', part: '1', kind: 'x' }, {}]) {
    assert.deepEqual(meaning(['r:@4', data]), [unknown]);
  }
  assert.deepEqual(meaning(['', { type: 'delta', part: 0, text: 'x' }], ['r:@4', 'x'], ['r:@5', '{"type":'], ['r:4', {}], ['r:5', null]), []);
});
