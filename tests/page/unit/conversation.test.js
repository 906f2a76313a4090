import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyConversation, merge, reduce, requestBody, runningReply } from '../../../static/conversation.js';
import { Persistence } from '../../../static/storage.js';
import { finishedLength } from '../../../static/markdown.js';

const message = (text, id = 'm') => ({ role: 'user', id, text });
const asked = reduce(emptyConversation('c'), { type: 'asked', message: message('hi'), entry: 'e', key: 'k', body: '{}' });
const all = (state, ...actions) => actions.reduce(reduce, state);
const grown = all(asked, { type: 'started', entry: 'e', reply: 'r' }, { type: 'grew', entry: 'e', text: '你', position: 1 });
const done = reduce(grown, { type: 'ended', entry: 'e', state: 'done', problem: null });

test('a reply grows and ends, and is then never changed', () => {
  assert.equal(runningReply(grown)?.text, '你');
  assert.equal(runningReply(done), null);
  assert.equal(reduce(done, { type: 'grew', entry: 'e', text: 'x', position: 2 }), done);
  assert.equal(reduce(done, { type: 'ended', entry: 'e', state: 'failed', problem: null }), done);
});

test('an entry to which nothing happens is the same object', () => {
  assert.equal(grown.entries[0], asked.entries[0]);
  assert.equal(reduce(grown, { type: 'grew', entry: 'other', text: 'x', position: 1 }), grown);
});

test('a request is kept until its reply is known, so that a reload can repeat it', () => {
  assert.equal(asked.entries[1].body, '{}');
  assert.equal(grown.entries[1].body, null);
});

test('retrying begins with nothing and another key', () => {
  const again = reduce(done, { type: 'retried', entry: 'e', key: 'k2', body: '{}' });
  assert.deepEqual([again.entries[1].text, again.entries[1].position, again.entries[1].key], ['', 0, 'k2']);
});

test('two tabs: the one that is further wins, whoever merges', () => {
  for (const [a, b, winner] of [[asked, grown, grown], [grown, done, done], [asked, done, done]]) {
    assert.deepEqual(merge(a, b), winner);
    assert.deepEqual(merge(b, a), winner);
  }
  assert.equal(merge(grown, structuredClone(grown)), grown);
  const more = reduce(done, { type: 'asked', message: message('2', 'm2'), entry: 'e2', key: 'k2', body: '' });
  assert.deepEqual(merge(done, more).entries.map(({ id }) => id), ['m', 'e', 'm2', 'e2']);
});

test('what another tab has brought already is not taken once more', () => {
  const further = all(grown, { type: 'grew', entry: 'e', text: '好吗👍', position: 4 });
  const state = reduce(grown, { type: 'synced', conversation: further });
  assert.equal(reduce(state, { type: 'grew', entry: 'e', text: '好', position: 2 }), state);
  const both = all(state, { type: 'grew', entry: 'e', text: '吗👍!', position: 5 }, { type: 'grew', entry: 'e', text: '?', position: 6 });
  assert.deepEqual([runningReply(both)?.text, runningReply(both)?.position], ['你好吗👍!?', 6]);
});

test('a body is trimmed from the front, to a question, below the limit in bytes', () => {
  let state = done;
  for (let i = 0; i < 40; i++) {
    state = all(state,
      { type: 'asked', message: message(`问题"${i}`, `m${i}`), entry: `e${i}`, key: '', body: '' },
      { type: 'grew', entry: `e${i}`, text: '答'.repeat(50), to: 50 },
      { type: 'ended', entry: `e${i}`, state: 'done', problem: null });
  }
  const entries = [...state.entries, message('last', 'ml')];
  for (const limit of [10, 200, 1000, 5000, 1e6]) {
    const body = requestBody(entries, limit);
    const { messages } = JSON.parse(body);
    assert.equal(messages.at(-1).content, 'last');
    assert.equal(messages[0].role, 'user');
    if (limit > 50) assert.ok(Buffer.byteLength(body) <= limit);
    if (limit === 1e6) assert.equal(messages.length, entries.length);
  }
});

test('storage: another tab\'s newer text is not overwritten, and rubbish is no conversation', () => {
  const map = new Map();
  const storage = { getItem: (k) => map.get(k) ?? null, setItem: (k, v) => map.set(k, v), removeItem: (k) => map.delete(k) };
  const persistence = new Persistence(storage, 'p:');
  persistence.save(done);
  assert.deepEqual(persistence.save(asked), done);
  assert.deepEqual(persistence.load(), done);
  for (const rubbish of ['', '{', '3', '{"id":1}', '{"id":"x","entries":[{}]}']) {
    map.set('p:conversation', rubbish);
    assert.equal(persistence.load(), null);
  }
  assert.equal(persistence.transport, 'auto');
  persistence.transport = 'poll';
  assert.equal(persistence.transport, 'poll');
});

test('storage: a full one keeps the newest', () => {
  let kept = '';
  const persistence = new Persistence({ getItem: () => null, removeItem() {}, setItem: (_, value) => {
    if (value.length > 200) throw new Error('QuotaExceededError');
    kept = value;
  } }, '');
  assert.equal(persistence.save(done), done);
  assert.deepEqual(JSON.parse(kept).entries.map(({ id }) => id), ['e']);
});

test('storage: what is not of one conversation is kept for all of them', () => {
  const map = new Map();
  const storage = { getItem: (k) => map.get(k) ?? null, setItem: (k, v) => map.set(k, v), removeItem: (k) => map.delete(k) };
  const own = new Persistence(storage, 'p:');
  const linked = new Persistence({ ...storage, getItem: () => null, setItem() {} }, 'p:link:', own);
  linked.transport = 'text';
  linked.raw = true;
  linked.verdict = { transport: 'poll', reason: 'buffered', until: 5 };
  for (const persistence of [own, linked]) {
    assert.deepEqual([persistence.transport, persistence.raw, persistence.verdict?.transport], ['text', true, 'poll']);
  }
  linked.draft = 'mine';
  assert.equal(own.draft, '');
});

test('a cleared conversation is known to be one, whatever came after it', () => {
  let state = grown;
  for (let i = 0; i < 3; i++) state = reduce(state, { type: 'cleared', id: `new${i}` });
  assert.equal(merge(state, grown), state);
  assert.equal(merge(grown, state), state);
  for (let i = 0; i < 200; i++) state = reduce(state, { type: 'cleared', id: `newer${i}` });
  assert.ok(state.cleared.length < 100);
});

test('a Markdown block is finished at a blank line that stands in no fence', () => {
  const text = '# a\n\n```py\nx\n\ny\n```\npara\n\nopen\n';
  const ends = new Set(Array.from(text, (_, i) => text.slice(0, finishedLength(text.slice(0, i + 1)))));
  for (const end of ends) assert.equal(finishedLength(text, end.length), finishedLength(text));
  assert.deepEqual([...ends], ['', '# a\n\n', '# a\n\n```py\nx\n\ny\n```\n', '# a\n\n```py\nx\n\ny\n```\npara\n\n']);
});
