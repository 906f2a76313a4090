import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { Chat } from '../../../static/chat.js';
import { reduce } from '../../../static/conversation.js';
import { Problem } from '../../../static/problems.js';
import { Persistence } from '../../../static/storage.js';
import { TransportError } from '../../../static/transports/transport.js';
import { alive, close, delta, end, headers, part, ScriptedEnvironment, text } from './scripted.js';

const MESSAGE = 'hi';
const REPLY = '你好';
const limited = () => new Problem({ type: '/problems/too-many-requests', retryAfter: 1 });

/** A storage that the tabs of one browser share. */
class Store {
  items = new Map();
  getItem = (key) => this.items.get(key) ?? null;
  setItem = (key, value) => this.items.set(key, value);
  removeItem = (key) => this.items.delete(key);
}

/** Answer each request to stop with the next status, the last one for ever; an Error is thrown. */
function stopAnswers(...answers) {
  const asked = [];
  globalThis.fetch = async (url) => {
    asked.push(String(url));
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    if (answer instanceof Error) throw answer;
    return new Response('', { status: answer });
  };
  return asked;
}
const realFetch = globalThis.fetch;
afterEach(() => (globalThis.fetch = realFetch));

/** A tab: a chat in a scripted environment, what it announced, and what it shows. */
function tab({ storage = new Store(), environment = new ScriptedEnvironment(), persistence = new Persistence(storage, '') } = {}) {
  const announced = [];
  const tab = { storage, environment, persistence, announced, status: null };
  tab.chat = new Chat({
    base: new URL('http://x/'), persistence, environment,
    requestFrame: (run) => environment.after(run, 16),
    draw: (_, status) => (tab.status = status),
    announce: (announcement) => announced.push(announcement),
    limits: { message: 1000, body: 16000 },
    isVisible: () => true,
  });
  tab.last = () => tab.chat.conversation.entries.at(-1);
  tab.until = (done) => environment.clock.run(() => done(tab.last()));
  return tab;
}

test('a message is sent, and its reply shown and kept', async () => {
  const one = tab();
  one.environment.enqueue('sse', [headers(), alive(0), text(REPLY, 0), end()]);
  assert.equal(one.chat.send(MESSAGE), 'sent');
  await one.until(({ state }) => state === 'done');
  await one.environment.clock.run(() => one.persistence.load()?.entries.at(-1).state === 'done');
  assert.equal(one.last().text, REPLY);
  assert.deepEqual(one.announced, ['started', 'done']);
});

test('nothing but white space is no message', () => {
  const one = tab();
  for (const nothing of ['', ' ', ' \n\t\n']) assert.equal(one.chat.send(nothing), 'empty');
  assert.deepEqual(one.chat.conversation.entries, []);
});

test('half a character is replaced before it is sent, for the service takes none', () => {
  const one = tab();
  one.chat.send('\ufeffa\ud83dz 👍');
  assert.equal(one.chat.conversation.entries[0].text, '\ufeffa\ufffdz 👍');
  assert.deepEqual(JSON.parse(one.last().body).messages, [{ role: 'user', content: '\ufeffa\ufffdz 👍' }]);
});

test('the chosen transport is taken although nothing can be kept, or another tab chose another', async () => {
  const full = { getItem: () => null, removeItem() {}, setItem() { throw new Error('QuotaExceededError'); } };
  for (const storage of [full, new Store()]) {
    const one = tab({ storage });
    one.chat.chooseTransport('websocket');
    new Persistence(storage, '').transport = 'text';
    one.environment.enqueue('websocket', [headers(), alive(), text(REPLY, 0), end()]);
    one.chat.send(MESSAGE);
    await one.until(({ state }) => state === 'done');
    assert.deepEqual(one.environment.calls.map(({ transport }) => transport), ['websocket']);
  }
});

test('what Auto learnt holds until the page is left, although nothing can be kept', async () => {
  const one = tab({ storage: { getItem: () => null, removeItem() {}, setItem() { throw new Error('QuotaExceededError'); } } });
  one.environment.enqueue('sse', ['hang']);
  one.environment.enqueue('websocket', ...Array(2).fill([headers(), alive(), text(REPLY, 0), end()]));
  for (let i = 0; i < 2; i++) {
    one.chat.send(MESSAGE);
    await one.until(({ state }) => state === 'done');
  }
  assert.deepEqual(one.environment.calls.map(({ transport }) => transport), ['sse', 'websocket', 'websocket']);
});

test('giving up after refusals announces the limit, not the connection', async () => {
  const one = tab();
  one.environment.enqueue('sse', ...Array.from({ length: 20 }, () => [limited()]));
  one.chat.send(MESSAGE);
  await one.until(({ state }) => state === 'lost');
  assert.equal(one.last().problem.type, '/problems/too-many-requests');
  assert.deepEqual(one.announced, ['failed']);
  one.chat.resume(one.last().id);
  assert.equal(one.last().problem, null);
});

test('what was given up goes on when somebody looks, but is not asked for once more behind a newer message', async () => {
  for (const started of [true, false]) {
    const one = tab();
    one.chat.send(MESSAGE);
    const lost = one.last().id;
    if (started) one.environment.enqueue('sse', [headers(), alive(0), text(REPLY, 0, 1)]);
    await one.until(({ state }) => state === 'lost');
    one.environment.enqueue('sse', [headers('r2'), alive(0), text(REPLY, 0), end()]);
    one.chat.chooseTransport('sse');
    one.chat.send(MESSAGE);
    await one.until(({ state }) => state === 'done');
    one.environment.wake('seen');
    const { state } = one.chat.conversation.entries.find(({ id }) => id === lost);
    assert.equal(state, started ? 'running' : 'lost');
  }
});

test('a reply that has no name before its first character is asked for it when it is to be stopped', async () => {
  const one = tab();
  const asked = [];
  globalThis.fetch = async (url, { headers }) => {
    asked.push(String(url));
    if (String(url).endsWith('/stop')) return new Response('{}');
    assert.equal(headers['Idempotency-Key'], one.last().key);
    return Response.json({ reply: 'r', state: 'running', finish_reason: null, after: 0, text: '', next: 0 });
  };
  one.chat.chooseTransport('websocket');
  one.environment.enqueue('websocket', [headers(null), 3000, end('stopped')]);
  one.chat.send(MESSAGE);
  await one.environment.clock.run(() => one.environment.calls.length > 0);
  one.chat.stop();
  await one.until(({ state }) => state === 'stopped');
  assert.deepEqual(asked, ['http://x/api/chat?wait=0&view=parts', 'http://x/api/chat/r/stop']);
});

test('a stop that something between swallowed is asked for again', async () => {
  const one = tab();
  const asked = stopAnswers(502, new TypeError('network error'), 200);
  one.environment.enqueue('sse', [headers(), alive(0), text(REPLY, 0), 'hang'], [headers(), alive(0), 9000, end('stopped')]);
  one.chat.send(MESSAGE);
  await one.until(({ state, reply }) => state === 'running' && reply);
  one.chat.stop();
  await one.until(({ state }) => state === 'stopped');
  assert.deepEqual(asked, Array(3).fill('http://x/api/chat/r/stop'));
});

test('a reply is let go before it is stopped, and then read to its end', async () => {
  // Six streams would hold the request back: a browser has six connections for one host.
  const one = tab();
  const open = [];
  globalThis.fetch = async () => {
    // Another tab saves, and the page is looked at.
    one.chat.sync();
    one.environment.wake('seen');
    for (let turn = 0; turn < 20; turn++) await null;
    open.push([...one.environment.open]);
    await new Promise((resolve) => one.environment.after(resolve, 100));
    open.push([...one.environment.open]);
    return new Response('', { status: 200 });
  };
  one.environment.enqueue('sse', [headers(), alive(0), text(REPLY, 0, 1), 'hang'], [headers(), alive(1), text(REPLY, 1), end('stopped')]);
  one.chat.send(MESSAGE);
  await one.until(({ text }) => text !== '');
  one.chat.stop();
  await one.until(({ state }) => state === 'stopped');
  assert.deepEqual(open, [[], []]);
  assert.equal(one.last().text, REPLY);
});

test('a stop that is never answered leaves the reply to be read on', async () => {
  const one = tab();
  globalThis.fetch = () => new Promise(() => {});
  one.environment.enqueue('sse', [headers(), alive(0), text(REPLY, 0, 1), 'hang'], [headers(), alive(1), text(REPLY, 1), end('stopped')]);
  one.chat.send(MESSAGE);
  await one.until(({ text }) => text !== '');
  one.chat.stop();
  await one.until(({ state }) => state === 'stopped');
  assert.equal(one.last().text, REPLY);
});

test('what a race has shown holds for the next message, until it no longer does', async () => {
  const one = tab();
  const ask = async () => {
    const { length } = one.environment.calls;
    one.chat.send(MESSAGE);
    await one.until(({ role, state }) => role === 'assistant' && state === 'done');
    return one.environment.calls.slice(length).map(({ transport }) => transport);
  };
  const given = [headers(), alive(), text(REPLY, 0), end()];
  one.environment.enqueue('sse', ['hang']);
  one.environment.enqueue('websocket', given, given, ['hang'], ['hang'], given);
  assert.deepEqual(await ask(), ['sse', 'websocket']);
  assert.deepEqual(await ask(), ['websocket']);
  // It does not get through any more, and the best one does.
  one.environment.enqueue('poll', ['hang']);
  one.environment.enqueue('sse', given, given, ['hang'], given);
  assert.deepEqual(await ask(), ['websocket', 'poll', 'sse']);
  assert.deepEqual(await ask(), ['sse']);
  // Another network.
  one.environment.enqueue('poll', given);
  assert.deepEqual(await ask(), ['sse', 'websocket', 'poll']);
  one.environment.wake('online');
  assert.deepEqual(await ask(), ['sse']);
});

test('who stops a reply whose connection is broken waits for nothing', async () => {
  for (const first of ['broken', 'stopping']) {
    const one = tab();
    const asked = stopAnswers(new TypeError('network error'));
    one.environment.enqueue('sse', [headers(), alive(0), text(REPLY, 0, 1), 500, new TransportError('cut')]);
    one.chat.send(MESSAGE);
    await one.until(({ text }) => text !== '');
    if (first === 'broken') await one.environment.clock.run(() => one.status?.waiting);
    one.chat.stop();
    await one.until(({ state }) => state === 'stopped');
    assert.ok(asked.length > 0);
    assert.ok(one.environment.clock.time < 1000);
  }
});

test('a conversation that one tab cleared does not come back out of another', async () => {
  const storage = new Store();
  const one = tab({ storage });
  one.environment.enqueue('sse', [headers(), alive(0), text(REPLY, 0), end()]);
  one.chat.send(MESSAGE);
  await one.until(({ state }) => state === 'done');
  one.chat.save();
  const two = tab({ storage });
  assert.equal(two.chat.conversation.entries.length, 2);

  const before = storage.getItem('conversation');
  one.chat.clear();
  // The other tab keeps what it has before it knows, be it asleep or busy.
  two.chat.save();
  assert.deepEqual(two.chat.conversation.entries, []);
  assert.deepEqual(two.persistence.load().entries, []);
  // Its browser may have had an old copy of the storage.
  storage.setItem('conversation', before);
  one.chat.sync();
  assert.deepEqual(one.chat.conversation.entries, []);
  assert.deepEqual(one.persistence.load().entries, []);
});

test('an end that another tab had first is announced here too', async () => {
  const [one, two] = [tab(), tab()];
  one.environment.enqueue('sse', [headers(), alive(0), text(REPLY, 0), 'hang']);
  one.chat.send(MESSAGE);
  await one.until(({ text }) => text !== '');
  two.persistence.save(reduce(one.chat.conversation, { type: 'ended', entry: one.last().id, state: 'done', problem: null, finishReason: null, at: null }));
  one.storage.setItem('conversation', two.storage.getItem('conversation'));
  one.chat.sync();
  assert.equal(one.last().state, 'done');
  assert.deepEqual(one.announced, ['started', 'done']);
});

test('a tab that was away takes what another has kept when somebody looks at it', async () => {
  const storage = new Store();
  const [one, two] = [tab({ storage }), tab({ storage })];
  one.environment.enqueue('sse', [headers(), alive(0), text(REPLY, 0), end()]);
  one.chat.send(MESSAGE);
  await one.until(({ state }) => state === 'done');
  one.chat.save();
  two.environment.wake('seen');
  assert.equal(two.last().text, REPLY);
});

test('that a reply has started is said with its first unit, whatever that is, and how complete it is at its end', async () => {
  for (const [reading, wanted] of [
    [[part(1, 1, 'reasoning'), 3000, delta(2, 0, 'a'), end('done', 'stop')], ['started', 'done']],
    [[part(1, 1, 'tool_call'), end('done', 'tool_calls')], ['started', 'empty']],
    [[delta(1, 0, 'a'), end('done', 'length')], ['started', 'length']],
    [[delta(1, 0, 'a'), end('done', 'content_filter')], ['started', 'content_filter']],
    [[end('done', 'stop')], ['empty']],
  ]) {
    const one = tab();
    one.environment.enqueue('sse', [headers(), alive(0), ...reading]);
    one.chat.send(MESSAGE);
    await one.environment.clock.run(() => one.environment.calls.length > 0);
    assert.deepEqual(one.announced, wanted.slice(0, one.announced.length));
    await one.until(({ state }) => state === 'done');
    assert.deepEqual(one.announced, wanted);
  }
});

test('a reply is read on in a thought by its offset, also by a page that is loaded again', async () => {
  const one = tab();
  one.environment.enqueue('sse', [headers(), alive(0), part(1, 1, 'reasoning'), delta(4, 1, 'abc'), 'hang']);
  one.chat.send(MESSAGE);
  await one.until(({ parts }) => parts[0]?.text === 'abc');
  one.chat.save();
  const two = tab({ storage: one.storage });
  two.environment.enqueue('sse', [headers(), alive(0), part(4, 1, 'reasoning', {}, true), delta(6, 1, 'de'), delta(8, 0, '你好'), end('done', 'stop')]);
  await two.until(({ state }) => state === 'done');
  assert.deepEqual(two.last().parts.map(({ text, open }) => [text, open]), [['abcde', false]]);
  assert.deepEqual([two.last().text, two.last().offset, two.announced], ['你好', 8, ['done']]);
});

test('a thought that ended while nobody read has no time', async () => {
  for (const [away, endedAt] of [[true, false], [false, true]]) {
    const one = tab();
    const rest = [part(2, 1, 'reasoning', {}, true), delta(3, 1, 'b'), close(4, 1), delta(5, 0, 'c'), end('done', 'stop')];
    const first = [headers(), alive(0), part(1, 1, 'reasoning'), delta(2, 1, 'a')];
    one.environment.enqueue('sse', ...(away ? [first, [headers(), alive(0), ...rest]] : [[...first, ...rest.slice(1)]]));
    one.chat.send(MESSAGE);
    await one.until(({ state }) => state === 'done');
    const [part1] = one.last().parts;
    assert.deepEqual([part1.text, part1.begunAt !== null, part1.endedAt !== null], ['ab', true, endedAt]);
  }
});

test('a burst is drawn over several frames, and its reply ends behind its last character', async () => {
  const drawn = [];
  const environment = new ScriptedEnvironment();
  const one = tab({ environment });
  environment.enqueue('sse', [headers(), alive(0), text('一二三四五六七八九十'.repeat(50), 0), end()]);
  one.chat.send(MESSAGE);
  await one.until(({ text: shown, state }) => {
    if (shown.length !== drawn.at(-1)?.[0]) drawn.push([shown.length, state]);
    return state === 'done';
  });
  assert.ok(drawn.length > 4, String(drawn));
  assert.ok(drawn.every(([length, state]) => length === 500 || state === 'running'));
  assert.deepEqual(one.announced, ['started', 'done']);
});
