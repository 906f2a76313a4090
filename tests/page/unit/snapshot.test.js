import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { readSnapshot } from '../../../static/transports/snapshot.js';

const realFetch = globalThis.fetch;
afterEach(() => (globalThis.fetch = realFetch));

/** Read one snapshot; return whether it ended the reply, and the last event. */
async function read(body) {
  globalThis.fetch = async () => Response.json({ reply: 'r', after: 0, text: '', next: 0, ...body });
  const events = [];
  const target = { base: new URL('http://x/'), reply: 'r', after: 0, start: null };
  const { ended } = await readSnapshot(target, (event) => events.push(event), new AbortController().signal, 0);
  return { ended, last: events.at(-1) };
}

test('a snapshot says how a reply ended as well as it can', async () => {
  const end = (state, code) => ({ ended: true, last: { type: 'end', state, problem: code && { type: `/problems/${code}` } } });
  assert.deepEqual(await read({ state: 'done', finish_reason: 'stop' }), end('done', null));
  assert.deepEqual(await read({ state: 'stopped', finish_reason: 'stopped' }), end('stopped', null));
  assert.deepEqual(await read({ state: 'failed', finish_reason: 'error' }), end('failed', 'backend-failed'));
  // Its producer went, not the AI behind it.
  assert.deepEqual(await read({ state: 'failed', finish_reason: 'interrupted' }), end('failed', 'draining'));
});

test('a snapshot of a reply that runs is no end', async () => {
  assert.equal((await read({ state: 'running', finish_reason: null })).ended, false);
});
