import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FIRST_BYTE_MS, first, HEADERS_MS, next, observe, SILENCE_MS, watch } from '../../../static/auto.js';

const headers = { type: 'headers', reply: null };
const time = { type: 'time' };
const alive = (...stamps) => ({ type: 'alive', stamps });

/** Drives a watch by [time, sight] pairs and gives the first reason, and when. */
function run(transport, ...script) {
  let state = watch(transport, 0);
  for (const [now, sight] of script) {
    const seen = observe(state, sight, now);
    if (seen.reason) return [seen.reason, now];
    state = seen.watch;
  }
  return state.deadline;
}

test('no headers in four seconds', () => {
  assert.deepEqual(run('sse', [HEADERS_MS, time]), ['headers', HEADERS_MS]);
  assert.equal(run('sse', [HEADERS_MS - 1, time]), HEADERS_MS);
});

test('no first byte within a second of the headers, for an event stream', () => {
  assert.deepEqual(run('sse', [100, headers], [100 + FIRST_BYTE_MS, time]), ['first-byte', 1100]);
});

test('a socket or a long poll owes no byte before there is text', () => {
  for (const transport of ['websocket', 'poll']) {
    assert.equal(run(transport, [100, headers], [1100, time]), 100 + SILENCE_MS);
    assert.deepEqual(run(transport, [0, headers], [SILENCE_MS, time]), ['silent', SILENCE_MS]);
  }
  assert.deepEqual(run('poll', [SILENCE_MS, time]), ['silent', SILENCE_MS]);
});

test('two stamps half a second apart in one read', () => {
  assert.deepEqual(run('sse', [0, headers], [1, alive(1000, 1500)]), ['buffered', 1]);
  assert.deepEqual(run('sse', [0, headers], [1, alive(1000)], [2, alive(1500)]), ['buffered', 2]);
});

test('stamps that come when they were sent, or close together, are no fault', () => {
  run('sse', [0, headers], [1, alive(1000)], [501, alive(1500)], [1001, alive(2000)]);
  assert.equal(run('sse', [0, headers], [1, alive(1000, 1499)]), 1 + SILENCE_MS);
});

test('silence past two and a half heartbeats', () => {
  assert.deepEqual(run('sse', [0, headers], [5, alive(1)], [5 + SILENCE_MS, time]), ['silent', 5 + SILENCE_MS]);
});

test('an end is followed by nothing, and nothing is missed', () => {
  assert.equal(run('sse', [0, headers], [5, alive(1)], [6, { type: 'end', state: 'done', problem: null }]), Infinity);
});

test('from the best to the one that works anywhere', () => {
  assert.deepEqual([next('sse'), next('websocket'), next('poll')], ['websocket', 'poll', null]);
});

test('a verdict holds until its hour is over, then the better one is tried again', () => {
  const verdict = { transport: /** @type {const} */ ('poll'), reason: /** @type {const} */ ('buffered'), until: 100 };
  assert.deepEqual([first(null, 0), first(verdict, 99), first(verdict, 100)], ['sse', 'poll', 'sse']);
});
