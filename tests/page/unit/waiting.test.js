import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { SILENCE_MS, waitingOf } from '../../../static/waiting.js';

const part = (kind, more = {}) => ({ part: 1, kind, members: { id: 'c' }, text: '', open: false, begunAt: null, endedAt: null, ...more });
const reply = (more = {}) => ({ state: 'running', stopping: false, parts: [], ...more });
const status = (more = {}) => ({ online: true, waiting: null, heardAt: 1000, ...more });
const kindOf = (...all) => waitingOf(...all)?.kind ?? null;

test('a second of silence is nothing yet, and then every second is counted', () => {
  assert.equal(waitingOf(reply(), status(), 1000 + SILENCE_MS - 1), null);
  for (const [ms, seconds] of [[SILENCE_MS, 1], [1999, 1], [5000, 5], [65_400, 65]]) {
    assert.deepEqual(waitingOf(reply(), status(), 1000 + ms), { kind: 'model', key: 'waiting.model', seconds });
  }
  assert.equal(waitingOf(reply(), status({ heardAt: null }), 9000), null);
});

test('nothing is waited for behind the end, nor once the reader has stopped it', () => {
  for (const state of ['done', 'stopped', 'failed', 'lost']) assert.equal(waitingOf(reply({ state }), status({ online: false }), 9000), null);
  assert.equal(waitingOf(reply({ stopping: true }), status(), 9000), null);
});

test('a thought and a tool count for themselves, and are no silence of the model', () => {
  assert.equal(kindOf(reply({ parts: [part('reasoning', { open: true })] }), status(), 9000), null);
  assert.equal(kindOf(reply({ parts: [part('tool_call')] }), status(), 9000), null);
  const result = part('tool_result', { part: 2, members: { id: 'c', result: 1 } });
  assert.equal(kindOf(reply({ parts: [part('reasoning'), part('tool_call'), result] }), status(), 9000), 'model');
  assert.equal(kindOf(reply({ parts: [part('data'), part('source')] }), status(), 9000), 'model');
});

test('a pause is told at once, one that the service asked for with what is left of it', () => {
  const pausing = (type) => status({ waiting: { until: 3000, problem: type ? { type: `/problems/${type}` } : null } });
  assert.deepEqual(waitingOf(reply(), pausing(''), 1001), { kind: 'connection', key: 'waiting.connection', seconds: 0 });
  for (const [now, seconds] of [[1000, 2], [1001, 2], [2001, 1], [3000, 0], [4000, 0]]) {
    assert.deepEqual(waitingOf(reply(), pausing('draining'), now), { kind: 'service', key: 'waiting.draining', seconds });
  }
  for (const [code, key] of [['too-many-requests', 'too-many-requests'], ['store-unavailable', 'store-unavailable'], ['overloaded', 'overloaded'], ['of a newer node', 'overloaded']]) {
    assert.equal(waitingOf(reply(), pausing(code), 1000).key, `waiting.${key}`);
  }
  assert.equal(kindOf(reply(), { ...pausing('overloaded'), online: false }, 1000), 'network');
});

test('every key has a sentence', () => {
  const template = readFileSync(new URL('../../../templates/chat.html', import.meta.url), 'utf8');
  for (const key of ['model', 'network', 'connection', 'too-many-requests', 'overloaded', 'draining', 'store-unavailable']) {
    assert.ok(template.includes(`"waiting.${key}":`), key);
  }
});
