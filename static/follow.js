/**
 * Follows one reply to its end, over whatever it takes: the loop that holds every reason to go on or to give up.
 *
 * It knows neither the DOM nor a real clock; all it touches is handed in, so a scripted world runs it under node.
 * What it promises: `text` comes in order, each character once; then exactly one of `end`, `refused`, `gave-up`, or
 * nothing after an abort.
 *
 * @import { Reason } from './auto.js'
 * @import { ProblemDetails, Sight, Target, Transport, TransportName } from './transports/transport.js'
 *
 * @typedef {object} World
 * @property {Readonly<Record<TransportName, Transport>>} transports
 * @property {() => number} now monotonic ms
 * @property {(run: () => void, ms: number) => () => void} after runs later; gives what cancels it
 * @property {() => number} random
 * @property {() => boolean} online
 * @property {(wake: (why: 'online' | 'seen') => void) => () => void} onWake network is back, or somebody looks
 *
 * @typedef {{type: 'using', transport: TransportName}
 *   | {type: 'started', reply: string}
 *   | {type: 'text', text: string, to: number}
 *   | {type: 'left', from: TransportName, to: TransportName, reason: Reason}
 *   | {type: 'works', transport: TransportName, reason: Reason}
 *   | {type: 'waiting', ms: number, problem: ProblemDetails | null}
 *   | {type: 'end', state: 'done' | 'stopped' | 'failed', problem: ProblemDetails | null}
 *   | {type: 'refused', problem: ProblemDetails}
 *   | {type: 'gave-up', problem: ProblemDetails | null}} Progress
 *
 * @typedef {object} Order what to follow, and how
 * @property {Target} target
 * @property {TransportName} transport the one to begin with
 * @property {boolean} auto whether it may be left for another
 */
import { BREAKS, next, observe, ORDER, watch } from './auto.js';
import { ATTEMPTS, backoff, passes } from './backoff.js';
import { newText } from './position.js';
import { Problem } from './transports/transport.js';

/** After this long without a sign of life, a reader who comes back gets a fresh connection. */
const STALE_MS = 16000;

/**
 * @param {Order} order
 * @param {World} world
 * @param {(progress: Progress) => void} tell
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export async function follow({ target, transport, auto }, world, tell, signal) {
  const at = { ...target };
  /** @type {Reason | null} */
  let leftFor = null;
  let breaks = 0;
  let failures = 0;

  while (!signal.aborted) {
    tell({ type: 'using', transport });
    const before = at.after;
    const outcome = await readOnce(at, world.transports[transport], auto, world, (progress) => {
      if (progress.type === 'started') at.reply = progress.reply;
      if (progress.type === 'text') {
        at.after = progress.to;
        if (leftFor) tell({ type: 'works', transport, reason: leftFor });
        leftFor = null;
      }
      tell(progress);
    }, signal);
    if (signal.aborted || outcome.type === 'end') return;

    if (outcome.type === 'problem' && !passes(outcome.problem.code)) {
      tell({ type: 'refused', problem: outcome.problem.details });
      return;
    }
    if (outcome.type === 'woken') continue;
    if (at.after > before) breaks = failures = 0;
    // Without a network nothing is given up; yet it is tried, for a service on this machine is there all the same.
    if (!world.online()) failures = Math.min(failures, ATTEMPTS / 2);
    failures++;
    breaks++;
    if (failures > ATTEMPTS) {
      tell({ type: 'gave-up', problem: outcome.type === 'problem' ? outcome.problem.details : null });
      return;
    }
    const passing = outcome.type === 'problem';
    const reason = outcome.type === 'fault' ? outcome.reason : breaks >= BREAKS && !passing && world.online() ? 'broken' : null;
    if (auto && reason) {
      // An outage breaks all of them alike; then the best is as good as any.
      const to = next(transport) ?? (reason === 'broken' ? ORDER[0] : null);
      if (to) {
        tell({ type: 'left', from: transport, to, reason });
        leftFor = to === ORDER[0] ? null : reason;
        transport = to;
        breaks = 0;
        if (reason !== 'broken') continue;
      }
    }
    const asked = passing ? (outcome.problem.details.retryAfter ?? 0) * 1000 : outcome.retry;
    const ms = asked > 0 ? asked : backoff(failures, world.random());
    tell({ type: 'waiting', ms, problem: passing ? outcome.problem.details : null });
    await pause(ms, passing, world, signal);
  }
}

/**
 * @typedef {{type: 'end'} | {type: 'broke', retry: number} | {type: 'fault', reason: Reason, retry: number}
 *   | {type: 'problem', problem: Problem} | {type: 'woken'}} Outcome
 *
 * @param {Target} target
 * @param {Transport} transport
 * @param {boolean} auto
 * @param {World} world
 * @param {(progress: Progress) => void} tell
 * @param {AbortSignal} signal
 * @returns {Promise<Outcome>}
 */
async function readOnce(target, transport, auto, world, tell, signal) {
  const reading = new AbortController();
  const stop = () => reading.abort();
  signal.addEventListener('abort', stop);
  /** @type {Outcome | null} */
  let outcome = null;
  let have = target.after;
  let started = target.reply;
  let retry = 0;
  let state = watch(transport.name, world.now());
  let heard = world.now();
  let due = Infinity;
  let disarm = () => {};
  /** @param {Outcome} why */
  const leave = (why) => {
    outcome ??= why;
    reading.abort();
  };
  /** @param {Sight | {type: 'time'}} sight */
  const judge = (sight) => {
    const seen = observe(state, sight, world.now());
    state = seen.watch;
    // Who chose a transport by hand has it, slow or buffered; only a dead connection is left.
    if (seen.reason && (auto || seen.reason === 'silent')) leave({ type: 'fault', reason: seen.reason, retry });
    else if (state.deadline < due) arm();
  };
  const arm = () => {
    disarm();
    due = state.deadline;
    // A timer may be early, and most deadlines are put off meanwhile: then it is set anew.
    disarm = world.after(() => {
      due = Infinity;
      judge({ type: 'time' });
    }, Math.max(0, Math.ceil(due - world.now())));
  };
  arm();
  const unwake = world.onWake((why) => {
    if (why === 'online' || world.now() - heard > STALE_MS) leave({ type: 'woken' });
  });
  /** @param {Sight} sight */
  const see = (sight) => {
    if (outcome) return;
    heard = world.now();
    if (sight.type === 'headers' && sight.reply && sight.reply !== started) {
      started = sight.reply;
      tell({ type: 'started', reply: started });
    }
    if (sight.type === 'retry') retry = sight.ms;
    if (sight.type === 'text') {
      let text;
      try {
        text = newText(have, sight.text, sight.to);
      } catch {
        // A gap: what is here is right, so the reading is begun anew from its end.
        leave({ type: 'broke', retry });
        return;
      }
      have = Math.max(have, sight.to);
      if (text) tell({ type: 'text', text, to: have });
    }
    judge(sight);
    if (outcome) return;
    if (sight.type === 'end') {
      outcome = { type: 'end' };
      tell(sight);
    }
  };
  try {
    await transport.read({ ...target }, see, reading.signal);
    return outcome ?? { type: 'broke', retry };
  } catch (error) {
    if (outcome) return outcome;
    if (error instanceof Problem) return { type: 'problem', problem: error };
    return { type: 'broke', retry };
  } finally {
    reading.abort();
    disarm();
    unwake();
    signal.removeEventListener('abort', stop);
  }
}

/**
 * Waits, but no longer than until the network is back or somebody looks.
 *
 * @param {number} ms
 * @param {boolean} patient whether the server asked for the pause, so that nobody's look shortens it
 * @param {World} world
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function pause(ms, patient, world, signal) {
  return new Promise((resolve) => {
    const done = () => {
      cancel();
      unwake();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const cancel = world.after(done, ms);
    const unwake = world.onWake(() => {
      if (!patient) done();
    });
    signal.addEventListener('abort', done);
    // Whoever was told of the pause may have left at once.
    if (signal.aborted) done();
  });
}

