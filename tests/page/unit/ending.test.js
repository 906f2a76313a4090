import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { completeness, endingOf, hasArrived } from '../../../static/ending.js';
import { EXPLAINED_CODES, EXPLAINED_REASONS, problemKey } from '../../../static/translate.js';

const ended = (state, more = {}) => ({ state, key: 'k', text: 'x', parts: [], finishReason: null, problem: null, ...more });
const failed = (code, more = {}, reason = undefined) => ended('failed', { problem: { type: `/problems/${code}`, detail: 'Because.', ...(reason && { reason }) }, ...more });
const shown = (reply) => [endingOf(reply)?.key, endingOf(reply)?.action];
const file = [{ kind: 'file' }];
const thought = [{ kind: 'reasoning' }];

test('a reply that is done is complete, was cut, or has nothing to show', () => {
  for (const [finishReason, text, parts, found, key, action] of [
    ['stop', 'x', [], 'done'],
    [null, 'x', [], 'done'],
    ['of its own', 'x', [], 'done'],
    ['stop', '', file, 'done'],
    ['length', 'x', [], 'length', 'ended.length', 'continue'],
    ['length', '', thought, 'length', 'ended.length.empty', 'retry'],
    ['content_filter', 'x', [], 'content_filter', 'ended.content_filter', 'change'],
    ['content_filter', '', [], 'content_filter', 'ended.content_filter.empty', 'change'],
    ['tool_calls', '', thought, 'empty', 'ended.empty', 'retry'],
    ['stop', '', [], 'empty', 'ended.nothing', 'retry'],
  ]) {
    assert.equal(completeness({ finishReason, text, parts }), found);
    assert.deepEqual(shown(ended('done', { finishReason, text, parts })), [key, action]);
  }
});

test('who stopped a reply, and what had arrived, are told apart', () => {
  assert.deepEqual(shown(ended('stopped')), ['ended.stopped', 'retry']);
  assert.deepEqual(shown(ended('stopped', { text: '' })), ['ended.stopped.empty', 'retry']);
  assert.deepEqual(shown(ended('stopped', { text: '', parts: thought })), ['ended.stopped', 'retry']);
  assert.deepEqual(shown(ended('stopped', { finishReason: 'abandoned' })), ['ended.abandoned', 'retry']);
  assert.equal(endingOf(ended('running')), null);
  assert.deepEqual([hasArrived({ text: '', parts: [] }), hasArrived({ text: '', parts: file })], [false, true]);
});

test('a reply whose service went down is asked for again, whatever the service called it', () => {
  for (const reply of [failed('draining'), failed('internal-error', { finishReason: 'interrupted' }), ended('failed', { finishReason: 'interrupted' })]) {
    assert.deepEqual(shown(reply), ['ended.interrupted', 'ask']);
    assert.deepEqual(shown({ ...reply, text: '' }), ['ended.interrupted.empty', 'ask']);
  }
  assert.deepEqual(shown(failed('reply-not-found')), ['problem.reply-gone', 'ask']);
  assert.deepEqual(shown(failed('reply-not-found', { key: '' })), ['problem.reply-not-found', null]);
});

test('the reason of a failed backend says who can do something', () => {
  for (const [reason, key, action] of [
    ['busy', 'problem.backend-failed.busy', 'retry'],
    ['refused', 'problem.backend-failed.refused', 'change'],
    ['misconfigured', 'problem.backend-failed.misconfigured', null],
    ['broken', 'problem.backend-failed', 'retry'],
    [undefined, 'problem.backend-failed', 'retry'],
    ['of a newer node', 'problem.backend-failed', 'retry'],
  ]) assert.deepEqual(shown(failed('backend-failed', {}, reason)), [key, action]);
});

test('what was refused is quoted, all else that the service said is folded away', () => {
  const parts = (reply) => (({ words, detail, code }) => [words, detail, code])(endingOf(reply));
  assert.deepEqual(parts(failed('backend-failed', {}, 'refused')), ['Because.', '', 'backend-failed · refused']);
  assert.deepEqual(parts(failed('invalid-request')), ['Because.', '', 'invalid-request']);
  assert.deepEqual(parts(failed('backend-failed', {}, 'broken')), ['', 'Because.', 'backend-failed · broken']);
  assert.deepEqual(parts(failed('forbidden')), ['', 'Because.', 'forbidden']);
  assert.deepEqual(parts(ended('done', { finishReason: 'length' })), ['', '', '']);
  // A reply that another attempt has mended keeps no problem.
  assert.deepEqual(parts(ended('stopped', { problem: { type: 'x', detail: 'y' } })), ['', '', '']);
});

test('what was given up is read on, once its reader is signed in again if need be', () => {
  const lost = (code) => ended('lost', code ? { problem: { type: `/problems/${code}` } } : {});
  assert.deepEqual(shown(lost('')), ['problem.lost', 'resume']);
  assert.deepEqual(shown(lost('overloaded')), ['problem.overloaded', 'resume']);
  assert.deepEqual(shown(lost('draining')), ['problem.draining', 'resume']);
  assert.deepEqual(shown(lost('unauthorized')), ['problem.unauthorized', 'sign-in']);
  assert.deepEqual(shown({ ...lost(''), key: '' }), ['problem.lost', 'resume']);
});

test('a reply that was opened by a link has no question that could be asked again', () => {
  for (const reply of [ended('stopped'), failed('draining'), ended('done', { finishReason: 'length' }), failed('reply-expired')]) {
    assert.notEqual(endingOf(reply).action, null);
    assert.equal(endingOf({ ...reply, key: '' }).action, null);
  }
});

test('every key has a sentence, and every action a label', () => {
  const template = readFileSync(new URL('../../../templates/chat.html', import.meta.url), 'utf8');
  const source = readFileSync(new URL('../../../static/ending.js', import.meta.url), 'utf8');
  const keys = new Set([...source.matchAll(/'((?:ended|problem)\.[\w.-]+)'/g)].map(([, key]) => key));
  for (const code of [...EXPLAINED_CODES, 'other']) keys.add(problemKey(code));
  for (const reason of EXPLAINED_REASONS) keys.add(problemKey('backend-failed', reason));
  for (const found of ['length', 'content_filter', 'length.empty', 'content_filter.empty']) keys.add(`ended.${found}`);
  for (const action of ['continue', 'change', 'retry', 'ask', 'resume']) keys.add(`act.${action}`);
  assert.ok(keys.size > 30);
  for (const key of keys) assert.ok(template.includes(`"${key}":`), key);
});
