import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyConversation, merge, reduce, requestBody, runningReply } from '../../../static/conversation.js';
import { Persistence } from '../../../static/storage.js';
import { delta, part } from './scripted.js';

const message = (text, id = 'm') => ({ role: 'user', id, text });
const asked = reduce(emptyConversation('c'), { type: 'asked', message: message('hi'), entry: 'e', key: 'k', body: '{}' });
const grew = (text, position, entry = 'e') => ({ type: 'grew', entry, arrivals: [{ arrival: { type: 'text', text, position }, at: null }] });
const grewBy = (...arrivals) => ({ type: 'grew', entry: 'e', arrivals: arrivals.map((arrival) => ({ arrival, at: null })) });
const all = (state, ...actions) => actions.reduce(reduce, state);
const grown = all(asked, { type: 'started', entry: 'e', reply: 'r' }, grew('你', 1));
const done = reduce(grown, { type: 'ended', entry: 'e', state: 'done', problem: null, finishReason: 'stop', at: null });

test('a reply grows and ends, and is then never changed', () => {
  assert.equal(runningReply(grown)?.text, '你');
  assert.equal(runningReply(done), null);
  assert.equal(reduce(done, grew('x', 2)), done);
  assert.equal(reduce(done, { type: 'ended', entry: 'e', state: 'failed', problem: null }), done);
});

test('an entry to which nothing happens is the same object', () => {
  assert.equal(grown.entries[0], asked.entries[0]);
  assert.equal(reduce(grown, grew('x', 1, 'other')), grown);
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
  const further = all(grown, grew('好吗👍', 4));
  const state = reduce(grown, { type: 'synced', conversation: further });
  assert.equal(reduce(state, grew('好', 2)), state);
  const both = all(state, grew('吗👍!', 5), grew('?', 6));
  assert.deepEqual([runningReply(both)?.text, runningReply(both)?.position], ['你好吗👍!?', 6]);
});

test('a body is trimmed from the front, to a question, below the limit in bytes', () => {
  let state = done;
  for (let i = 0; i < 40; i++) {
    state = all(state,
      { type: 'asked', message: message(`问题"${i}`, `m${i}`), entry: `e${i}`, key: '', body: '' },
      grew('答'.repeat(50), 50, `e${i}`),
      { type: 'ended', entry: `e${i}`, state: 'done', problem: null, finishReason: 'stop', at: null });
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
  const room = JSON.stringify({ ...done, entries: done.entries.slice(1) }).length;
  const persistence = new Persistence({ getItem: () => null, removeItem() {}, setItem: (_, value) => {
    if (value.length > room) throw new Error('QuotaExceededError');
    kept = value;
  } }, '');
  assert.equal(persistence.save(done), done);
  assert.deepEqual(JSON.parse(kept).entries.map(({ id }) => id), ['e']);
});

test('storage: of a full one the contents of files go first, then all parts, then old entries', () => {
  const data = 'data:image/png;base64,' + 'A'.repeat(2000);
  const thought = all(asked, grewBy(part(1, 1, 'reasoning'), delta(601, 1, 'x'.repeat(600)), part(602, 2, 'file', { url: data }), delta(603, 0, '你')));
  const ended = reduce(thought, { type: 'ended', entry: 'e', state: 'done', problem: null, finishReason: null, at: null });
  let room = 0;
  let kept = '';
  const persistence = new Persistence({ getItem: () => null, setItem: (_, value) => {
    if (value.length > room) throw new Error('QuotaExceededError');
    kept = value;
  } }, '');
  for (const [limit, kinds] of [[5000, ['reasoning', 'file']], [2500, ['reasoning', 'file']], [1000, []]]) {
    room = limit;
    assert.equal(persistence.save(ended), ended);
    const entries = JSON.parse(kept).entries;
    assert.deepEqual(entries.at(-1).parts.map(({ kind }) => kind), kinds);
    assert.deepEqual([entries.length, entries[1].offset, kept.includes(data)], [2, 603, limit === 5000]);
  }
  // One that runs is read again from its start, and its text is dropped then.
  assert.equal(persistence.save(thought), thought);
  const { parts, offset, position, text } = JSON.parse(kept).entries[1];
  assert.deepEqual([parts, offset, position, text], [[], 0, 1, '你']);
});

test('storage: what a page of an older version kept is completed', () => {
  const { parts, offset, offsetPosition, finishReason, ...old } = grown.entries[1];
  const persistence = new Persistence({ getItem: () => JSON.stringify({ id: 'c', entries: [grown.entries[0], old] }), setItem() {} }, '');
  const [question, reply] = persistence.load().entries;
  assert.deepEqual(question, grown.entries[0]);
  assert.deepEqual([reply.text, reply.parts, reply.offset, reply.finishReason], ['你', [], 0, null]);
  // It is read from its start, and the text that is here comes once.
  const read = all({ id: 'c', cleared: [], entries: [question, reply] }, grewBy(delta(2, 0, '你好')));
  assert.deepEqual([read.entries[1].text, read.entries[1].position, read.entries[1].offset], ['你好', 2, 2]);
});

test('two tabs: what is followed here falls back neither in its text nor in its parts', () => {
  const parts = all(asked, grewBy(part(1, 1, 'reasoning'), delta(9, 1, 'thinking')));
  const characters = all(asked, grew('characters', 10));
  assert.equal(merge(parts, characters), parts);
  assert.equal(merge(characters, parts), characters);
  assert.equal(merge(asked, parts).entries[1], parts.entries[1]);
});

test('what the model thought, and its calls, are not sent back', () => {
  const thought = all(asked, grewBy(part(1, 1, 'reasoning'), delta(7, 1, 'secret'), part(8, 2, 'tool_call', { name: 'secret' }), delta(9, 0, 'a')));
  const body = requestBody([...thought.entries, message('next', 'm2')], 1000);
  assert.deepEqual(JSON.parse(body).messages.map(({ content }) => content), ['hi', 'a', 'next']);
  assert.ok(!body.includes('secret'));
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
