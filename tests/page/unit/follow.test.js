import assert from 'node:assert/strict';
import { test } from 'node:test';
import { follow } from '../../../static/follow.js';
import { Broken, Problem } from '../../../static/transports/transport.js';
import { alive, end, headers, text, World } from './scripted.js';

const ALL = 'a你👩‍👧 \n🇨🇳z';
const N = [...ALL].length;

async function run(world, { auto = true, transport = 'sse', signal = new AbortController().signal } = {}) {
  const told = [];
  let over = false;
  const target = { base: new URL('http://x/'), reply: null, after: 0, start: { key: 'k', body: '{}' } };
  follow({ target, transport, auto }, world, (progress) => told.push(progress), signal).finally(() => (over = true));
  await world.clock.run(() => over);
  return told;
}
const textOf = (told) => told.filter(({ type }) => type === 'text').map((progress) => progress.text).join('');
const left = (told) => told.filter(({ type }) => type === 'left').map(({ from, to, reason }) => `${from} ${to} ${reason}`);
const last = (told) => told.at(-1);

test('a reply that goes well', async () => {
  const world = new World();
  world.enqueue('sse', [headers(), alive(0), text(ALL, 0), end()]);
  const told = await run(world);
  assert.equal(textOf(told), ALL);
  assert.deepEqual(last(told), end());
  assert.equal(world.calls.length, 1);
});

test('cut at every position, it is resumed there and is exact', async () => {
  for (let cut = 0; cut <= N; cut++) {
    const world = new World();
    world.enqueue('sse', [headers(), alive(0), text(ALL, 0, cut)], [headers(), alive(0), text(ALL, Math.max(0, cut - 1)), end()]);
    const told = await run(world);
    assert.equal(textOf(told), ALL);
    assert.deepEqual(world.calls[1], { transport: 'sse', reply: 'r', after: cut });
    assert.deepEqual(left(told), []);
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
    ['broken', [[headers(), alive(0), text(ALL, 0, half)], [new Broken('HTTP 502')], [new Broken('HTTP 502')], [new Broken('HTTP 502')]]],
  ];
  for (const [reason, readings] of faults) {
    const world = new World();
    world.enqueue('sse', ...readings);
    world.enqueue('websocket', [headers(), alive(), text(ALL, 0), end()]);
    const told = await run(world);
    assert.equal(textOf(told), ALL, reason);
    assert.deepEqual(left(told), [`sse websocket ${reason}`]);
    assert.ok(told.some(({ type, transport }) => type === 'works' && transport === 'websocket'));
  }
});

test('a refused socket leads on to the long poll', async () => {
  const world = new World();
  world.enqueue('sse', ['hang']);
  world.enqueue('websocket', ...Array(3).fill([new Broken('closed with 1006')]));
  world.enqueue('poll', [headers(), alive(), text(ALL, 0), end()]);
  const told = await run(world);
  assert.equal(textOf(told), ALL);
  assert.deepEqual(left(told), ['sse websocket headers', 'websocket poll broken']);
});

test('who chose a buffered transport by hand keeps it', async () => {
  const world = new World();
  world.enqueue('sse', [5000, headers(), 3000, alive(1000, 9000), text(ALL, 0), end()]);
  const told = await run(world, { auto: false });
  assert.equal(textOf(told), ALL);
  assert.deepEqual(left(told), []);
});

test('who chose a transport by hand does not wait for ever on a dead connection', async () => {
  for (const transport of ['sse', 'eventsource', 'websocket', 'text', 'poll']) {
    const world = new World();
    world.enqueue(transport, ['hang'], [headers(), alive(), text(ALL, 0), end()]);
    const told = await run(world, { auto: false, transport });
    assert.equal(textOf(told), ALL, transport);
    assert.deepEqual(left(told), []);
    assert.ok(world.clock.time < 60_000);
  }
});

test('a timer that is early, on a clock that goes on while it is read, misses no deadline', async () => {
  for (const step of [0.1, 0.3, 0.5, 0.7]) {
    const world = new World();
    world.now = () => (world.clock.time += step);
    world.after = (run, ms) => world.clock.after(run, Math.trunc(ms - step));
    world.enqueue('sse', [headers(), 'hang']);
    world.enqueue('websocket', [headers(), alive(), text(ALL, 0), end()]);
    assert.deepEqual(left(await run(world)), ['sse websocket first-byte']);
  }
});

test('a gap is never shown: reading begins anew from what is here', async () => {
  const world = new World();
  world.enqueue('sse', [headers(), alive(0), text(ALL, 0, 1), text(ALL, 2, 3), text(ALL, 3)], [headers(), alive(0), text(ALL, 1), end()]);
  assert.equal(textOf(await run(world)), ALL);
});

test('a limit waits as long as it says, and nobody is impatient', async () => {
  const world = new World();
  world.enqueue('sse', [new Problem({ type: '/problems/too-many-requests', retryAfter: 7 })], [headers(), alive(0), text(ALL, 0), end()]);
  const told = await run(world);
  assert.equal(told.find(({ type }) => type === 'waiting').ms, 7000);
  assert.equal(world.clock.time >= 7000, true);
  assert.equal(textOf(told), ALL);
});

test('who is refused until it is given up is told why', async () => {
  const world = new World();
  const busy = { type: '/problems/overloaded', retryAfter: 1 };
  world.enqueue('sse', ...Array.from({ length: 9 }, () => [new Problem(busy)]));
  assert.deepEqual(last(await run(world)), { type: 'gave-up', problem: busy });
});

test('without a network nothing is given up', async () => {
  const world = new World();
  world.isOnline = false;
  world.clock.after(() => {
    world.enqueue('sse', [headers(), alive(0), text(ALL, 0), end()]);
    world.isOnline = true;
    world.wake('online');
  }, 600_000);
  assert.equal(textOf(await run(world)), ALL);
  assert.equal(world.clock.time, 600_000);
});

test('a service on this machine is there without a network', async () => {
  const world = new World();
  world.isOnline = false;
  world.enqueue('sse', [headers(), alive(0), text(ALL, 0, 1), new TypeError('network error')], [headers(), alive(0), text(ALL, 1), end()]);
  assert.equal(textOf(await run(world)), ALL);
});

test('who leaves when told of a pause does not wait for its end', async () => {
  const world = new World();
  const aborter = new AbortController();
  world.enqueue('sse', [new Problem({ type: '/problems/overloaded', retryAfter: 3600 })]);
  let over = false;
  const target = { base: new URL('http://x/'), reply: null, after: 0, start: { key: 'k', body: '{}' } };
  const leave = ({ type }) => type === 'waiting' && aborter.abort();
  follow({ target, transport: 'sse', auto: true }, world, leave, aborter.signal).finally(() => (over = true));
  await world.clock.run(() => over);
  assert.equal(world.clock.time, 0);
});

test('a problem that does not pass ends it at once', async () => {
  const world = new World();
  world.enqueue('sse', [new Problem({ type: '/problems/reply-expired' })]);
  const told = await run(world);
  assert.deepEqual(last(told), { type: 'refused', problem: { type: '/problems/reply-expired' } });
  assert.equal(world.calls.length, 1);
});

test('it gives up in the end, having tried all', async () => {
  const world = new World();
  const told = await run(world);
  assert.deepEqual(last(told), { type: 'gave-up', problem: null });
  assert.deepEqual(new Set(world.calls.map(({ transport }) => transport)), new Set(['sse', 'websocket', 'poll']));
});

test('when the network is back, it does not wait for its timer', async () => {
  const world = new World();
  world.isOnline = false;
  world.enqueue('sse', [new TypeError('network error')], [headers(), alive(0), text(ALL, 0), end()]);
  world.clock.after(() => {
    world.isOnline = true;
    world.wake('online');
  }, 1);
  const told = await run(world);
  assert.equal(world.calls.length, 2);
  assert.equal(world.clock.time, 1);
  assert.equal(textOf(told), ALL);
});

test('a stale connection is replaced when somebody looks, a live one is kept', async () => {
  const world = new World();
  world.enqueue('sse', [headers(), alive(0), text(ALL, 0, 1), () => world.wake('seen'), 17_000, 'hang'], [headers(), alive(1), text(ALL, 1), end()]);
  world.clock.after(() => world.wake('seen'), 16_500);
  const told = await run(world);
  assert.equal(textOf(told), ALL);
  assert.equal(world.calls.length, 2);
  assert.ok(world.clock.time < 17_000);
});

test('after an abort nothing is told and nothing runs on', async () => {
  const world = new World();
  const aborter = new AbortController();
  world.enqueue('sse', [headers(), alive(0), () => aborter.abort(), text(ALL, 0), 'hang']);
  const told = await run(world, { signal: aborter.signal });
  assert.equal(world.calls.length, 1);
  assert.equal(textOf(told), '');
});
