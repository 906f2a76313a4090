import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { Problem } from '../../../static/problems.js';
import { requestReply } from '../../../static/transports/http.js';

const realFetch = globalThis.fetch;
afterEach(() => (globalThis.fetch = realFetch));

/** Answer requests by a function of their address, and return the addresses. */
function answers(answer) {
  const asked = [];
  globalThis.fetch = async (url) => {
    asked.push(`${url.pathname}${url.search}`);
    return answer(url);
  };
  return asked;
}
const refuses = (code) => new Response(JSON.stringify({ type: `/problems/${code}` }), {
  status: 400, headers: { 'Content-Type': 'application/problem+json' },
});
const place = { offset: 7, offsetPosition: 3, position: 5 };
const base = new URL('http://x/');
const signal = new AbortController().signal;
const request = (target) => requestReply({ base, reply: 'r', place, start: null, ...target }, 'application/json', signal, { wait: '0' });

test('all parts are asked for, from the offset', async () => {
  const asked = answers(() => new Response(''));
  const { target } = await request({});
  await request({ reply: null, start: { key: 'k', body: '{}' } });
  assert.deepEqual(asked, ['/api/chat/r?wait=0&view=parts&after=%407', '/api/chat?wait=0&view=parts']);
  assert.equal(target.characters, undefined);
});

test('a node that refuses the offset is asked by position, and only that', async () => {
  const asked = answers(({ search }) => (search.includes('%40') ? refuses('bad-cursor') : new Response('')));
  const { target } = await request({});
  assert.deepEqual(asked.slice(1), ['/api/chat/r?wait=0&after=5']);
  assert.equal(target.characters, true);
  await request({ characters: true });
  assert.deepEqual(asked.slice(2), ['/api/chat/r?wait=0&after=5']);
});

test('any other refusal, and one of a position, stands', async () => {
  for (const [code, target] of [['bad-request', {}], ['bad-cursor', { characters: true }], ['bad-cursor', { reply: null, start: null }]]) {
    const asked = answers(() => refuses(code));
    await assert.rejects(request(target), Problem);
    assert.equal(asked.length, 1);
  }
});
