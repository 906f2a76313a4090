import assert from 'node:assert/strict';
import { test } from 'node:test';
import { completeness, endingText } from '../../../static/ending.js';

const translate = (key) => key;
const ended = (state, more = {}) => ({ state, text: 'x', finishReason: null, problem: null, ...more });

test('a reply that was cut, or has no text, says so', () => {
  const cases = [['stop', 'x', 'done'], [null, 'x', 'done'], ['length', 'x', 'length'], ['content_filter', 'x', 'content_filter'],
    ['tool_calls', '', 'empty'], ['stop', '', 'empty'], ['length', '', 'length'], ['of its own', 'x', 'done']];
  for (const [finishReason, text, wanted] of cases) {
    assert.equal(completeness({ finishReason, text }), wanted);
    assert.equal(endingText(ended('done', { finishReason, text }), translate), wanted === 'done' ? '' : `ended.${wanted}`);
  }
});

test('a reply that failed says why, in the words of the service only where they say more', () => {
  const problem = (code, more) => ({ problem: { type: `/problems/${code}`, detail: 'Because.', ...more } });
  for (const [more, wanted] of [
    [problem('backend-failed', { reason: 'busy' }), 'problem.backend-failed.busy'],
    [problem('backend-failed', { reason: 'misconfigured' }), 'problem.backend-failed.misconfigured'],
    [problem('backend-failed', { reason: 'refused' }), 'problem.backend-failed.refused Because.'],
    [problem('backend-failed', { reason: 'broken' }), 'problem.backend-failed Because.'],
    [problem('overloaded'), 'problem.overloaded'],
  ]) assert.equal(endingText(ended('failed', more), translate), wanted);
  assert.equal(endingText(ended('stopped'), translate), 'said.stopped');
  assert.equal(endingText(ended('lost'), translate), 'problem.lost');
  assert.equal(endingText(ended('running', { text: '' }), translate), '');
});
