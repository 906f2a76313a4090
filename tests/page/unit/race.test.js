import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HEADERS_TIMEOUT_MS, RACE_AFTER_MS, RACE_STAGGER_MS } from '../../../static/auto.js';
import { Problem } from '../../../static/problems.js';
import { readFirst } from '../../../static/race.js';
import { TransportError } from '../../../static/transports/transport.js';
import { START } from '../../../static/units.js';
import { alive, end, headers, ScriptedEnvironment, text } from './scripted.js';

const ALL = 'a你👩‍👧 \n🇨🇳z';
const whole = () => [alive(), text(ALL, 0), 'hang'];

/** Read until the reply is there or the reading is over; say what came, when, and what was open then. */
async function race(scripts, { first = 'sse', reply = null, until = ({ shown }) => shown === ALL } = {}) {
  const environment = new ScriptedEnvironment();
  for (const [name, script] of Object.entries(scripts)) environment.enqueue(name, script);
  const aborter = new AbortController();
  const said = { environment, shown: '', started: [], changes: [], outcome: null, aborter };
  const receive = (brought) => {
    if (brought.type === 'grew') said.shown += brought.text;
    if (brought.type === 'started') said.started.push(brought.reply);
  };
  const target = { base: new URL('http://x/'), reply, place: START, start: { key: 'k', body: '{}' } };
  readFirst(target, first, environment, receive, aborter.signal, (to, reason) => said.changes.push(`${to} ${reason}`))
    .then((outcome) => (said.outcome = outcome));
  await environment.clock.run(() => said.outcome !== null || until(said));
  said.at = environment.clock.time;
  for (let turn = 0; turn < 20; turn++) await null;
  return said;
}

/** What buffering proxies do to the transports, and what the reader then has. @type {[any, string, string][]} */
const BUFFERING = [
  [{ sse: ['hang'], websocket: [headers(null), ...whole()] }, 'websocket', 'headers'],
  [{ sse: [headers(), 'hang'], websocket: [headers(null), ...whole()] }, 'websocket', 'first-byte'],
  [{ sse: [900, headers(), 'hang'], websocket: ['hang'], poll: [headers(), ...whole()] }, 'poll', 'first-byte'],
  [{ sse: ['hang'], websocket: ['hang'], poll: [100, headers(), ...whole()] }, 'poll', 'headers'],
  [{ sse: ['hang'], websocket: [100, new TransportError('no upgrade')], poll: [100, headers(), ...whole()] }, 'poll', 'headers'],
  [{ sse: [1100, new TransportError('cut')], websocket: ['hang'], poll: [headers(), ...whole()] }, 'poll', 'headers'],
];

test('behind each kind of proxy that buffers there is text within one and a half seconds, over one connection', async () => {
  for (const [scripts, winner, reason] of BUFFERING) {
    const said = await race(scripts);
    assert.equal(said.shown, ALL);
    assert.ok(said.at <= RACE_AFTER_MS + 500, `${said.at}`);
    assert.deepEqual(said.changes, [`${winner} ${reason}`]);
    assert.deepEqual(said.environment.open, [winner]);
    assert.ok(said.environment.calls.every(({ transport }, i, all) => all.findIndex((call) => call.transport === transport) === i));
  }
});

test('one that works alone is not raced, however long the text takes', async () => {
  for (const [first, script] of [['sse', [headers(), alive(0), 9000, ...whole()]], ['websocket', [headers(null), 9000, ...whole()]],
    ['poll', [headers(), alive(), 9000, ...whole()]]]) {
    const said = await race({ [first]: script }, { first });
    assert.equal(said.shown, ALL);
    assert.deepEqual([said.changes, said.environment.calls.length], [[], 1]);
  }
});

test('a long poll that reads on may wait for news', async () => {
  const said = await race({ poll: [19_000, headers(), ...whole()] }, { first: 'poll', reply: 'r' });
  assert.deepEqual([said.shown, said.environment.calls.length], [ALL, 1]);
});

test('a long poll that has to start the reply may not', async () => {
  const said = await race({ poll: ['hang'], sse: [headers(), ...whole()] }, { first: 'poll' });
  assert.deepEqual([said.at, said.changes], [RACE_AFTER_MS, ['sse headers']]);
});

test('the first one stays if it gives first after all', async () => {
  const said = await race({ sse: [RACE_AFTER_MS + 50, headers(), ...whole()], websocket: [100, headers(null), ...whole()] });
  assert.deepEqual([said.shown, said.changes, said.environment.open], [ALL, [], ['sse']]);
});

test('whoever gives when, what comes is whole and comes once', async () => {
  const times = [0, RACE_AFTER_MS - 1, RACE_AFTER_MS, RACE_AFTER_MS + 1, RACE_AFTER_MS + RACE_STAGGER_MS, 2 * RACE_AFTER_MS, 'hang'];
  for (const sse of times) {
    for (const websocket of times) {
      for (const poll of [0, 1, RACE_STAGGER_MS, 3000]) {
        const script = (delay) => [delay, headers(), alive(), text(ALL, 0, 3), 0, text(ALL, 0, 3), 1, text(ALL, 2), end()];
        const said = await race({ sse: script(sse), websocket: script(websocket), poll: script(poll) }, { until: () => false });
        assert.deepEqual([said.shown, said.started, said.outcome], [ALL, ['r'], { type: 'end' }]);
        assert.equal(said.environment.open.length, 0);
        assert.ok(said.changes.length <= 1);
      }
    }
  }
});

test('the ones that come later read by the id that the first one brought', async () => {
  const said = await race({ sse: [headers('r'), 'hang'], websocket: [headers(null), ...whole()] });
  assert.deepEqual(said.environment.calls.map(({ reply }) => reply), [null, 'r']);
  assert.deepEqual(said.started, ['r']);
});

test('a page that was too busy to hear what has come starts no race', async () => {
  const environment = new ScriptedEnvironment();
  environment.enqueue('sse', [RACE_AFTER_MS + 2000, headers(), alive(), text(ALL, 0), 'hang']);
  const { after } = environment;
  // All timers but the network's fire two seconds late, once.
  let busy = true;
  environment.after = (run, ms) => after(() => (busy ? ((busy = false), (environment.clock.time += 2000)) : 0, run()), ms);
  let shown = '';
  const receive = (brought) => (shown += brought.type === 'grew' ? brought.text : '');
  const target = { base: new URL('http://x/'), reply: null, place: START, start: { key: 'k', body: '{}' } };
  readFirst(target, 'sse', environment, receive, new AbortController().signal, () => assert.fail());
  await environment.clock.run(() => shown === ALL);
  assert.deepEqual(environment.calls.map(({ transport }) => transport), ['sse']);
});

test('a refusal decides, one that passes only when nobody gives', async () => {
  const refused = new Problem({ type: '/problems/reply-expired' });
  const busy = new Problem({ type: '/problems/overloaded' });
  let said = await race({ sse: ['hang'], websocket: [refused], poll: ['hang'] });
  assert.deepEqual([said.outcome, said.at, said.environment.open], [{ type: 'problem', problem: refused }, RACE_AFTER_MS, []]);
  said = await race({ sse: ['hang'], websocket: [busy], poll: [50, headers(), ...whole()] });
  assert.deepEqual([said.shown, said.changes], [ALL, ['poll headers']]);
  said = await race({ sse: ['hang'], websocket: [busy], poll: [new TransportError('cut')] });
  assert.deepEqual(said.outcome, { type: 'problem', problem: busy });
});

test('where nobody gives, it ends as the first one does', async () => {
  const said = await race({ sse: ['hang'], websocket: ['hang'], poll: [new TransportError('cut')] });
  assert.deepEqual([said.outcome?.type, said.outcome?.reason], ['fault', 'headers']);
  assert.ok(said.at >= HEADERS_TIMEOUT_MS);
  assert.deepEqual(said.environment.open, []);
});

test('one that breaks before it is silent for a second is not raced', async () => {
  const said = await race({ sse: [500, new TransportError('cut')] });
  assert.deepEqual([said.outcome?.type, said.environment.calls.length, said.at], ['broke', 1, 500]);
});

test('an abort ends all of them', async () => {
  const said = await race({ sse: ['hang'], websocket: ['hang'], poll: ['hang'] }, { until: ({ environment }) => environment.open.length === 3 });
  said.aborter.abort();
  for (let turn = 0; turn < 20; turn++) await null;
  assert.deepEqual(said.environment.open, []);
  assert.ok(said.outcome);
});
