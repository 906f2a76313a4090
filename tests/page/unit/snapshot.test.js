import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { readSnapshot } from '../../../static/transports/snapshot.js';
import { TransportError } from '../../../static/transports/transport.js';
import { START } from '../../../static/units.js';
import { alive, delta, headers, part } from './scripted.js';

const realFetch = globalThis.fetch;
afterEach(() => (globalThis.fetch = realFetch));

/** Read one snapshot; return whether it ended the reply, and the last event. */
async function read(body) {
  globalThis.fetch = async () => Response.json({ reply: 'r', ...body });
  const events = [];
  const target = { base: new URL('http://x/'), reply: 'r', place: START, start: null };
  const { ended, target: next } = await readSnapshot(target, (event) => events.push(event), new AbortController().signal, 0);
  return { ended, next, events, last: events.at(-1) };
}

const old = { text: '', after: 0, next: 0 };

test('a snapshot of an older node says how a reply ended as well as it can', async () => {
  const problem = (code) => ({ type: `/problems/${code}` });
  for (const [state, finishReason, why] of [
    ['done', 'stop', null], ['stopped', 'stopped', null], ['failed', 'error', problem('backend-failed')],
    // Its producer went, not the AI behind it.
    ['failed', 'interrupted', problem('draining')],
  ]) {
    const { ended, last } = await read({ ...old, state, finish_reason: finishReason });
    assert.deepEqual([ended, last], [true, { type: 'end', state, problem: why, finishReason }]);
  }
  const told = { type: '/problems/backend-failed', reason: 'busy' };
  const { last } = await read({ ...old, state: 'failed', finish_reason: 'error', problem: told });
  assert.deepEqual(last.problem, told);
});

test('a snapshot of a reply that runs is no end, and reading goes on behind it', async () => {
  const { ended, next } = await read({ ...old, text: '你好', next: 2, state: 'running', finish_reason: null });
  assert.deepEqual([ended, next.place], [false, { offset: 0, offsetPosition: 0, position: 2 }]);
});

test('a snapshot of all parts brings their units, and the end once it is there', async () => {
  const frames = [
    { id: 'r:@1', data: { type: 'part', part: 1, kind: 'reasoning' } },
    { id: 'r:@4', data: { type: 'delta', part: 0, text: '你👍!' } },
  ];
  const running = await read({ after: '@0', next: '@4', events: frames, state: 'running', finish_reason: null });
  assert.deepEqual(running.events, [headers(), alive(), part(1, 1, 'reasoning'), delta(4, 0, '你👍!')]);
  assert.deepEqual([running.ended, running.next.place], [false, { offset: 4, offsetPosition: 3, position: 3 }]);

  const problem = { type: '/problems/backend-failed', reason: 'busy' };
  const end = { id: 'r:end', data: { type: 'end', state: 'failed', finish_reason: 'error', problem } };
  const ended = await read({ events: [...frames, end], state: 'failed', finish_reason: 'error', problem });
  assert.equal(ended.ended, true);
  assert.deepEqual(ended.last, { type: 'end', state: 'failed', problem, finishReason: 'error' });
});

test('what is no snapshot is an error of the connection', async () => {
  for (const body of [{}, { text: 3 }, { events: {} }]) await assert.rejects(read(body), TransportError);
});
