import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { snapshot } from '../../../static/transports/poll.js';

const realFetch = globalThis.fetch;
afterEach(() => (globalThis.fetch = realFetch));

/** What a reader of one snapshot sees. */
async function seen(body) {
  globalThis.fetch = async () => Response.json({ reply: 'r', after: 0, text: '', next: 0, ...body });
  const sights = [];
  const target = { base: new URL('http://x/'), reply: 'r', after: 0, start: null };
  const { ended } = await snapshot(target, (sight) => sights.push(sight), new AbortController().signal, 0);
  return { ended, last: sights.at(-1) };
}

test('how a reply ended is told as well as a snapshot knows', async () => {
  const end = (state, code) => ({ ended: true, last: { type: 'end', state, problem: code && { type: `/problems/${code}` } } });
  assert.deepEqual(await seen({ state: 'done', finish_reason: 'stop' }), end('done', null));
  assert.deepEqual(await seen({ state: 'stopped', finish_reason: 'stopped' }), end('stopped', null));
  assert.deepEqual(await seen({ state: 'failed', finish_reason: 'error' }), end('failed', 'backend-failed'));
  // Its producer went, not the AI behind it.
  assert.deepEqual(await seen({ state: 'failed', finish_reason: 'interrupted' }), end('failed', 'draining'));
});

test('a snapshot of a reply that runs is no end', async () => {
  assert.equal((await seen({ state: 'running', finish_reason: null })).ended, false);
});
