import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  FIRST_BYTE_TIMEOUT_MS, gives, HEADERS_TIMEOUT_MS, initialTransport, nextTransport, observe, othersThan,
  SILENCE_TIMEOUT_MS, startWatch, verdictOn,
} from '../../../static/auto.js';

const headers = { type: 'headers', reply: null };
const time = { type: 'time' };
const alive = (...stamps) => ({ type: 'alive', stamps });

/** Drive a watch by [time, event] pairs; return the first reason to leave and when, or the deadline. */
function run(transport, ...script) {
  let state = startWatch(transport, 0);
  for (const [now, event] of script) {
    const observed = observe(state, event, now);
    if (observed.reason) return [observed.reason, now];
    state = observed.watch;
  }
  return state.deadline;
}

test('no headers in four seconds', () => {
  assert.deepEqual(run('sse', [HEADERS_TIMEOUT_MS, time]), ['headers', HEADERS_TIMEOUT_MS]);
  assert.equal(run('sse', [HEADERS_TIMEOUT_MS - 1, time]), HEADERS_TIMEOUT_MS);
});

test('no first byte within a second of the headers, for an event stream', () => {
  assert.deepEqual(run('sse', [100, headers], [100 + FIRST_BYTE_TIMEOUT_MS, time]), ['first-byte', 1100]);
});

test('a socket or a long poll owes no byte before there is text', () => {
  for (const transport of ['websocket', 'poll']) {
    assert.equal(run(transport, [100, headers], [1100, time]), 100 + SILENCE_TIMEOUT_MS);
    assert.deepEqual(run(transport, [0, headers], [SILENCE_TIMEOUT_MS, time]), ['silent', SILENCE_TIMEOUT_MS]);
  }
  assert.deepEqual(run('poll', [SILENCE_TIMEOUT_MS, time]), ['silent', SILENCE_TIMEOUT_MS]);
});

test('two stamps half a second apart in one read', () => {
  assert.deepEqual(run('sse', [0, headers], [1, alive(1000, 1500)]), ['buffered', 1]);
  assert.deepEqual(run('sse', [0, headers], [1, alive(1000)], [2, alive(1500)]), ['buffered', 2]);
});

test('stamps that come when they were sent, or close together, are no fault', () => {
  run('sse', [0, headers], [1, alive(1000)], [501, alive(1500)], [1001, alive(2000)]);
  assert.equal(run('sse', [0, headers], [1, alive(1000, 1499)]), 1 + SILENCE_TIMEOUT_MS);
});

test('silence past two and a half heartbeats', () => {
  assert.deepEqual(run('sse', [0, headers], [5, alive(1)], [5 + SILENCE_TIMEOUT_MS, time]), ['silent', 5 + SILENCE_TIMEOUT_MS]);
});

test('an end is followed by nothing, and nothing is missed', () => {
  assert.equal(run('sse', [0, headers], [5, alive(1)], [6, { type: 'end', state: 'done', problem: null }]), Infinity);
});

test('from the best to the one that works anywhere', () => {
  assert.deepEqual([nextTransport('sse'), nextTransport('websocket'), nextTransport('poll')], ['websocket', 'poll', null]);
});

test('a verdict holds until its hour is over, then the better one is tried again', () => {
  const verdict = { transport: /** @type {const} */ ('poll'), reason: /** @type {const} */ ('buffered'), until: 100 };
  assert.deepEqual([initialTransport(null, 0), initialTransport(verdict, 99), initialTransport(verdict, 100)], ['sse', 'poll', 'sse']);
});

test('what is learnt is which other transport works, and nothing of the best', () => {
  const verdict = verdictOn('websocket', 'headers', 50);
  assert.deepEqual([initialTransport(verdict, 51), verdict?.reason], ['websocket', 'headers']);
  assert.equal(verdictOn('sse', 'headers', 50), null);
});

test('a head alone shows that a socket gets through, and no stream', () => {
  assert.deepEqual(['sse', 'poll', 'websocket'].map((name) => gives(name, headers)), [false, false, true]);
  for (const event of [alive(), { type: 'retry', ms: 5 }, { type: 'end', state: 'done', problem: null }]) assert.ok(gives('sse', event));
});

test('beside one read the others, those that follow it first', () => {
  assert.deepEqual(othersThan('sse'), ['websocket', 'poll']);
  assert.deepEqual(othersThan('websocket'), ['poll', 'sse']);
  assert.deepEqual(othersThan('poll'), ['sse', 'websocket']);
});
