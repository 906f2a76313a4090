/**
 * One reading of a reply over one transport, watched for faults.
 *
 * Like `follow.js` it knows neither the DOM nor a real clock, but its `Environment` alone.
 *
 * @import { Reason } from './auto.js'
 * @import { End, Target, Transport, TransportEvent, TransportName } from './transports/transport.js'
 * @import { Arrival, Place } from './units.js'
 *
 * @typedef {object} Environment
 *   What following a reply needs of the browser.
 * @property {Readonly<Record<TransportName, Transport>>} transports
 * @property {() => number} now the time in monotonic ms
 * @property {(run: () => void, ms: number) => () => void} after calls `run` later, and returns the function
 *   that cancels this
 * @property {() => number} random a number from 0 to 1
 * @property {() => boolean} online whether the browser knows of a network
 * @property {(wake: (why: 'online' | 'seen') => void) => () => void} onWake calls `wake` whenever the network
 *   is back or the page is looked at again, and returns the function that ends this
 *
 * @typedef {{type: 'answered'}
 *   | {type: 'gives'}
 *   | {type: 'started', reply: string}
 *   | {type: 'grew', arrival: Arrival, place: Place, rendered: number, text: string, live: boolean}
 *   | (End & {live: boolean})} Brought
 *   What a reading brings. `answered`: the head of an answer came; `gives`: the transport gets through, as its first
 *   bytes show; it comes once, before all of the reply; `started`: the reply's id is known; `grew`: something new, the place behind it, the position
 *   from which blocks are not finished yet, the new text of the answer, and whether it came when it was out (`live`), not when a new reading caught up, as at the end; `end`:
 *   of the reply.
 */
import { gives, observe, startWatch } from './auto.js';
import { Problem } from './problems.js';
import { unfinishedFrom } from './rendered-blocks.js';
import { take } from './units.js';

/**
 * After this long without an event, a reader who comes back gets a new connection. Longer than a heartbeat
 * of the service (15 s), so a live connection is not replaced.
 */
const STALE_MS = 16000;
/** What comes within this time of the start of a later reading may have been out for a while. */
const CATCH_UP_MS = 1000;

/**
 * How one reading ended. `end`: with the reply; `broke`: without it; `fault`: it was left for a reason of
 * Auto's; `problem`: the service refused; `woken`: it was stale when the reader came back. `retryMs` is the
 * pause that the service asked for, or 0.
 *
 * @typedef {{type: 'end'} | {type: 'broke', retryMs: number} | {type: 'fault', reason: Reason, retryMs: number}
 *   | {type: 'problem', problem: Problem} | {type: 'woken'}} Outcome
 */

/**
 * Read a reply once over one transport, watched for faults.
 *
 * @param {Target} target
 * @param {Transport} transport
 * @param {boolean} auto
 * @param {Environment} environment
 * @param {(brought: Brought) => void} emit takes what comes, in order; it may abort
 * @param {AbortSignal} signal
 * @returns {Promise<Outcome>}
 */
export async function readOnce(target, transport, auto, environment, emit, signal) {
  const reading = new AbortController();
  const abort = () => reading.abort();
  signal.addEventListener('abort', abort);
  /** @type {Outcome | null} */
  let outcome = null;
  const startedAt = environment.now();
  let { place, rendered, reply } = target;
  const starts = reply === null;
  let retryMs = 0;
  let given = false;
  let watch = startWatch(transport.name, environment.now());
  let lastEventAt = environment.now();
  let timerAt = Infinity;
  let disarm = () => {};
  /** @param {Outcome} why */
  const leave = (why) => {
    outcome ??= why;
    reading.abort();
  };
  /** @param {TransportEvent | {type: 'time'}} event */
  const judge = (event) => {
    const observed = observe(watch, event, environment.now());
    watch = observed.watch;
    // A transport that a person chose is kept even if it is slow or buffered; only a dead connection is left.
    const { reason } = observed;
    if (reason && (auto || reason === 'silent')) leave({ type: 'fault', reason, retryMs });
    else if (watch.deadline < timerAt) arm();
  };
  const arm = () => {
    disarm();
    timerAt = watch.deadline;
    // Each event puts the deadline off, but a new timer a character would be costly. So an old one may fire
    // before the deadline (as browsers' timers do anyway); then it is set anew.
    disarm = environment.after(() => {
      timerAt = Infinity;
      judge({ type: 'time' });
    }, Math.max(0, Math.ceil(timerAt - environment.now())));
  };
  arm();
  const unwake = environment.onWake((why) => {
    // A connection seldom survives a change of network, and a page that slept may have missed its death.
    if (why === 'online' || environment.now() - lastEventAt > STALE_MS) leave({ type: 'woken' });
  });
  const isLive = () => starts || environment.now() - startedAt > CATCH_UP_MS;
  /** @param {TransportEvent} event */
  const receive = (event) => {
    if (outcome) return;
    lastEventAt = environment.now();
    if (event.type === 'headers') emit({ type: 'answered' });
    if (!given && gives(transport.name, event)) {
      given = true;
      emit({ type: 'gives' });
    }
    if (event.type === 'headers' && event.reply && event.reply !== reply) {
      reply = event.reply;
      emit({ type: 'started', reply });
    }
    if (event.type === 'retry') retryMs = event.ms;
    if (event.type === 'block') rendered = unfinishedFrom([event.block]);
    if (event.type === 'text' || event.type === 'unit' || event.type === 'block') {
      let taken;
      try {
        taken = take(place, event);
      } catch {
        // A gap: something was lost on the way. All up to here is right, so reading begins anew from there.
        leave({ type: 'broke', retryMs });
        return;
      }
      ({ place } = taken);
      const { fresh, text } = taken;
      if (fresh) emit({ type: 'grew', arrival: fresh, place, rendered, text, live: isLive() });
    }
    judge(event);
    if (outcome) return;
    if (event.type === 'end') {
      outcome = { type: 'end' };
      emit({ ...event, live: isLive() });
    }
  };
  try {
    await transport.read({ ...target }, receive, reading.signal);
    return outcome ?? { type: 'broke', retryMs };
  } catch (error) {
    // Whatever else is thrown, by `fetch` or by a transport, means that the connection failed.
    return outcome ?? (error instanceof Problem ? { type: 'problem', problem: error } : { type: 'broke', retryMs });
  } finally {
    reading.abort();
    disarm();
    unwake();
    signal.removeEventListener('abort', abort);
  }
}
