import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { CODE_OF_CLOSE, codeOf, parseProblem, Problem, RETRIED_CODES } from '../../../static/problems.js';
import { EXPLAINED_CODES, EXPLAINED_REASONS, problemKey } from '../../../static/translate.js';

/** The rows of the table in PROTOCOL.md section 6: the codes, the HTTP column and the WebSocket column of each. */
const rows = readFileSync(new URL('../../../PROTOCOL.md', import.meta.url), 'utf8')
  .split(/^## /m)
  .find((section) => section.startsWith('6.'))
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) => line.split('|').slice(1, 4))
  .map(([codes, http, close]) => ({ codes: Array.from(codes.matchAll(/`([\w-]+)`/g), ([, code]) => code), http, close }));

test('exactly those codes are retried that the contract sends with Retry-After', () => {
  const retried = rows.filter(({ http }) => http.includes('Retry-After')).flatMap(({ codes }) => codes);
  assert.ok(retried.length > 0);
  assert.deepEqual([...RETRIED_CODES].sort(), retried.sort());
  for (const code of retried) assert.equal(new Problem({ type: `/problems/${code}` }).retried, true);
  assert.equal(new Problem({ type: '/problems/reply-expired' }).retried, false);
});

test('every close code stands for a code of its row, and every explained code is in the contract', () => {
  for (const [close, code] of CODE_OF_CLOSE) {
    assert.ok(rows.some((row) => row.codes.includes(code) && row.close.includes(String(close))), `${close} ${code}`);
  }
  const known = rows.flatMap(({ codes }) => codes);
  for (const code of EXPLAINED_CODES) assert.ok(known.includes(code), code);
});

test('a reason chooses the sentence of a failed backend alone, and every reason is in the contract', () => {
  const section = readFileSync(new URL('../../../PROTOCOL.md', import.meta.url), 'utf8').split(/^## /m)
    .find((each) => each.startsWith('6.'));
  for (const reason of EXPLAINED_REASONS) {
    assert.ok(section.includes(`- \`${reason}\``), reason);
    assert.equal(problemKey('backend-failed', reason), `problem.backend-failed.${reason}`);
    assert.equal(problemKey('overloaded', reason), 'problem.overloaded');
  }
  for (const reason of [undefined, '', 'broken', 'of a newer node']) {
    assert.equal(problemKey('backend-failed', reason), 'problem.backend-failed');
  }
});

test('a problem in a stream is an object or its JSON, and has a type', () => {
  assert.deepEqual(parseProblem('{"type":"/problems/x","title":"t"}'), { type: '/problems/x', title: 't' });
  assert.deepEqual(parseProblem({ title: 't' }), { type: 'about:blank', title: 't' });
  for (const data of ['', '{', '3', 'null', null, 3]) assert.equal(parseProblem(data), null);
  assert.deepEqual([codeOf({ type: '/problems/x' }), codeOf(null)], ['x', '']);
  assert.equal(parseProblem({ type: 'x', retry_after: 7 }).retryAfter, 7);
  for (const seconds of [0, -1, '7', null, undefined]) assert.equal(parseProblem({ type: 'x', retry_after: seconds }).retryAfter, undefined);
});
