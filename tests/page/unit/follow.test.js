import assert from 'node:assert/strict';
import { test } from 'node:test';
import { follow } from '../../../static/follow.js';
import { Problem } from '../../../static/problems.js';
import { TransportError } from '../../../static/transports/transport.js';
import { START } from '../../../static/units.js';
import { alive, end, headers, ScriptedEnvironment, text } from './scripted.js';

const ALL = 'a你👩‍👧 \n🇨🇳z';
const N = [...ALL].length;

async function run(environment, { auto = true, transport = 'sse', signal = new AbortController().signal } = {}) {
  const emitted = [];
  let over = false;
  const target = { base: new URL('http://x/'), reply: null, place: START, start: { key: 'k', body: '{}' } };
  follow({ target, transport, auto }, environment, (progress) => emitted.push(progress), signal).finally(() => (over = true));
  await environment.clock.run(() => over);
  return emitted;
}
const textOf = (emitted) => emitted.filter(({ type }) => type === 'grew').map((progress) => progress.text).join('');
const left = (emitted) => emitted.filter(({ type }) => type === 'left').map(({ from, to, reason }) => `${from} ${to} ${reason}`);
const last = (emitted) => emitted.at(-1);

test('a reply that goes well', async () => {
  const environment = new ScriptedEnvironment();
  environment.enqueue('sse', [headers(), alive(0), text(ALL, 0), end()]);
  const emitted = await run(environment);
  assert.equal(textOf(emitted), ALL);
  assert.deepEqual(last(emitted), { ...end(), live: true });
  assert.equal(environment.calls.length, 1);
});

test('cut at every position, it is resumed there and is exact', async () => {
  for (let cut = 0; cut <= N; cut++) {
    const environment = new ScriptedEnvironment();
    environment.enqueue('sse', [headers(), alive(0), text(ALL, 0, cut)], [headers(), alive(0), text(ALL, Math.max(0, cut - 1)), end()]);
    const emitted = await run(environment);
    assert.equal(textOf(emitted), ALL);
    assert.deepEqual(environment.calls[1], { transport: 'sse', reply: 'r', after: cut });
    assert.deepEqual(left(emitted), []);
  }
});

test('each of the five reasons leads to the next transport, in mid-reply, and nothing is lost or repeated', async () => {
  const half = Math.floor(N / 2);
  /** @type {[string, any[][]][]} */
  const faults = [
    ['headers', [['hang']]],
    ['first-byte', [[headers(), 'hang']]],
    ['buffered', [[headers(), alive(0), text(ALL, 0, half), alive(1000, 1500), 'hang']]],
    ['silent', [[headers(), alive(0), text(ALL, 0, half), 'hang']]],
    ['broken', [[headers(), alive(0), text(ALL, 0, half)], [new TransportError('HTTP 502')], [new TransportError('HTTP 502')], [new TransportError('HTTP 502')]]],
  ];
  for (const [reason, readings] of faults) {
    const environment = new ScriptedEnvironment();
    environment.enqueue('sse', ...readings);
    environment.enqueue('websocket', [headers(), alive(), text(ALL, 0), end()]);
    const emitted = await run(environment);
    assert.equal(textOf(emitted), ALL, reason);
    assert.deepEqual(left(emitted), [`sse websocket ${reason}`]);
    assert.ok(emitted.some(({ type, transport }) => type === 'works' && transport === 'websocket'));
  }
});

test('a refused socket leads on to the long poll', async () => {
  const environment = new ScriptedEnvironment();
  environment.enqueue('sse', ['hang']);
  environment.enqueue('websocket', ...Array(3).fill([new TransportError('closed with 1006')]));
  environment.enqueue('poll', [headers(), alive(), text(ALL, 0), end()]);
  const emitted = await run(environment);
  assert.equal(textOf(emitted), ALL);
  assert.deepEqual(left(emitted), ['sse poll headers']);
});

test('who chose a buffered transport by hand keeps it', async () => {
  const environment = new ScriptedEnvironment();
  environment.enqueue('sse', [5000, headers(), 3000, alive(1000, 9000), text(ALL, 0), end()]);
  const emitted = await run(environment, { auto: false });
  assert.equal(textOf(emitted), ALL);
  assert.deepEqual(left(emitted), []);
});

test('who chose a transport by hand does not wait for ever on a dead connection', async () => {
  for (const transport of ['sse', 'eventsource', 'websocket', 'text', 'poll']) {
    const environment = new ScriptedEnvironment();
    environment.enqueue(transport, ['hang'], [headers(), alive(), text(ALL, 0), end()]);
    const emitted = await run(environment, { auto: false, transport });
    assert.equal(textOf(emitted), ALL, transport);
    assert.deepEqual(left(emitted), []);
    assert.ok(environment.clock.time < 60_000);
  }
});

test('a timer that is early, on a clock that goes on while it is read, misses no deadline', async () => {
  for (const step of [0.1, 0.3, 0.5, 0.7]) {
    const environment = new ScriptedEnvironment();
    environment.now = () => (environment.clock.time += step);
    environment.after = (run, ms) => environment.clock.after(run, Math.trunc(ms - step));
    environment.enqueue('sse', [headers(), 'hang']);
    environment.enqueue('websocket', [headers(), alive(), text(ALL, 0), end()]);
    assert.deepEqual(left(await run(environment)), ['sse websocket first-byte']);
  }
});

test('a gap is never shown: reading begins anew from what is here', async () => {
  const environment = new ScriptedEnvironment();
  environment.enqueue('sse', [headers(), alive(0), text(ALL, 0, 1), text(ALL, 2, 3), text(ALL, 3)], [headers(), alive(0), text(ALL, 1), end()]);
  assert.equal(textOf(await run(environment)), ALL);
});

test('a limit waits as long as it says, and nobody is impatient', async () => {
  const environment = new ScriptedEnvironment();
  environment.enqueue('sse', [new Problem({ type: '/problems/too-many-requests', retryAfter: 7 })], [headers(), alive(0), text(ALL, 0), end()]);
  const emitted = await run(environment);
  assert.equal(emitted.find(({ type }) => type === 'waiting').ms, 7000);
  assert.equal(environment.clock.time >= 7000, true);
  assert.equal(textOf(emitted), ALL);
});

test('giving up after refusals says why', async () => {
  const environment = new ScriptedEnvironment();
  const busy = { type: '/problems/overloaded', retryAfter: 1 };
  environment.enqueue('sse', ...Array.from({ length: 9 }, () => [new Problem(busy)]));
  assert.deepEqual(last(await run(environment)), { type: 'gave-up', problem: busy });
});

test('without a network nothing is given up', async () => {
  const environment = new ScriptedEnvironment();
  environment.isOnline = false;
  environment.clock.after(() => {
    environment.enqueue('sse', [headers(), alive(0), text(ALL, 0), end()]);
    environment.isOnline = true;
    environment.wake('online');
  }, 600_000);
  assert.equal(textOf(await run(environment)), ALL);
  assert.equal(environment.clock.time, 600_000);
});

test('a service on this machine is there without a network', async () => {
  const environment = new ScriptedEnvironment();
  environment.isOnline = false;
  environment.enqueue('sse', [headers(), alive(0), text(ALL, 0, 1), new TypeError('network error')], [headers(), alive(0), text(ALL, 1), end()]);
  assert.equal(textOf(await run(environment)), ALL);
});

test('an abort at the start of a pause does not wait for its end', async () => {
  const environment = new ScriptedEnvironment();
  const aborter = new AbortController();
  environment.enqueue('sse', [new Problem({ type: '/problems/overloaded', retryAfter: 3600 })]);
  let over = false;
  const target = { base: new URL('http://x/'), reply: null, place: START, start: { key: 'k', body: '{}' } };
  const leave = ({ type }) => type === 'waiting' && aborter.abort();
  follow({ target, transport: 'sse', auto: true }, environment, leave, aborter.signal).finally(() => (over = true));
  await environment.clock.run(() => over);
  assert.equal(environment.clock.time, 0);
});

test('a problem that does not pass ends it at once', async () => {
  const environment = new ScriptedEnvironment();
  environment.enqueue('sse', [new Problem({ type: '/problems/reply-expired' })]);
  const emitted = await run(environment);
  assert.deepEqual(last(emitted), { type: 'refused', problem: { type: '/problems/reply-expired' } });
  assert.equal(environment.calls.length, 1);
});

test('a reader who has to sign in again may come back to it', async () => {
  const environment = new ScriptedEnvironment();
  environment.enqueue('sse', [new Problem({ type: '/problems/unauthorized' })]);
  const emitted = await run(environment);
  assert.deepEqual(last(emitted), { type: 'gave-up', problem: { type: '/problems/unauthorized' } });
  assert.equal(environment.calls.length, 1);
});

test('it gives up in the end, having tried all', async () => {
  const environment = new ScriptedEnvironment();
  const emitted = await run(environment);
  assert.deepEqual(last(emitted), { type: 'gave-up', problem: null });
  assert.deepEqual(new Set(environment.calls.map(({ transport }) => transport)), new Set(['sse', 'websocket', 'poll']));
});

test('when the network is back, it does not wait for its timer', async () => {
  const environment = new ScriptedEnvironment();
  environment.isOnline = false;
  environment.enqueue('sse', [new TypeError('network error')], [headers(), alive(0), text(ALL, 0), end()]);
  environment.clock.after(() => {
    environment.isOnline = true;
    environment.wake('online');
  }, 1);
  const emitted = await run(environment);
  assert.equal(environment.calls.length, 2);
  assert.equal(environment.clock.time, 1);
  assert.equal(textOf(emitted), ALL);
});

test('a stale connection is replaced when somebody looks, a live one is kept', async () => {
  const environment = new ScriptedEnvironment();
  environment.enqueue('sse', [headers(), alive(0), text(ALL, 0, 1), () => environment.wake('seen'), 17_000, 'hang'], [headers(), alive(1), text(ALL, 1), end()]);
  environment.clock.after(() => environment.wake('seen'), 16_500);
  const emitted = await run(environment);
  assert.equal(textOf(emitted), ALL);
  assert.equal(environment.calls.length, 2);
  assert.ok(environment.clock.time < 17_000);
});

test('after an abort nothing is emitted and nothing runs on', async () => {
  const environment = new ScriptedEnvironment();
  const aborter = new AbortController();
  environment.enqueue('sse', [headers(), alive(0), () => aborter.abort(), text(ALL, 0), 'hang']);
  const emitted = await run(environment, { signal: aborter.signal });
  assert.equal(environment.calls.length, 1);
  assert.equal(textOf(emitted), '');
});
