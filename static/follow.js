/**
 * Following one reply to its end, over as many readings and transports as that takes.
 *
 * It knows neither the DOM nor a real clock: all that it uses of the browser is its `Environment`, so that tests
 * run it under node with another one.
 *
 * Invariants:
 * - What comes in `grew` is in order, each unit and each character once.
 * - The last progress is exactly one of `end`, `refused` and `gave-up`; after an abort there is none.
 *
 * @import { Reason } from './auto.js'
 * @import { ProblemDetails } from './problems.js'
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
 * @typedef {{type: 'using', transport: TransportName}
 *   | {type: 'started', reply: string}
 *   | {type: 'grew', arrival: Arrival, place: Place, rendered: number, text: string, live: boolean}
 *   | {type: 'left', from: TransportName, to: TransportName, reason: Reason}
 *   | {type: 'works', transport: TransportName, reason: Reason}
 *   | {type: 'waiting', ms: number, problem: ProblemDetails | null}
 *   | (End & {live: boolean})
 *   | {type: 'refused', problem: ProblemDetails}
 *   | {type: 'gave-up', problem: ProblemDetails | null}} Progress
 *   What happens while a reply is followed. `using`: a reading begins; `started`: the reply's id is known;
 *   `grew`: something new, the place behind it, the position from which blocks are not finished yet, the new text of the
 *   answer, and whether it came when it was out
 *   (`live`), not when a new reading caught up, as at the end; `left`: the transport is changed; `works`: the transport to which
 *   this has changed has brought something, so it is worth remembering; `waiting`: a pause
 *   before the next attempt, because of a problem if the service named one; `end`: of the reply; `refused`:
 *   a problem that does not pass by itself; `gave-up`: too many attempts have failed, the last one with this
 *   problem, or the reader has to sign in again.
 *
 * @typedef {object} FollowOptions
 *   Which reply to follow, and how.
 * @property {Target} target
 * @property {TransportName} transport the one to begin with
 * @property {boolean} auto whether it may be left for another
 */
import { FALLBACK_ORDER, MAX_BREAKS, nextTransport, observe, startWatch } from './auto.js';
import { backoffMs, MAX_ATTEMPTS } from './backoff.js';
import { unfinishedFrom } from './blocks.js';
import { codeOf, Problem } from './problems.js';
import { take } from './units.js';

/**
 * After this long without an event, a reader who comes back gets a new connection. Longer than a heartbeat
 * of the service (15 s), so a live connection is not replaced.
 */
const STALE_MS = 16000;
/** What comes within this time of the start of a later reading may have been out for a while. */
const CATCH_UP_MS = 1000;

/**
 * Follow a reply until it ends, is refused or is given up.
 *
 * @param {FollowOptions} options
 * @param {Environment} environment
 * @param {(progress: Progress) => void} emit takes what happens, in order; it may abort
 * @param {AbortSignal} signal ends the following at once
 * @returns {Promise<void>} fulfilled when it is over, for whatever reason
 */
export async function follow({ target, transport, auto }, environment, emit, signal) {
  const next = { ...target };
  /** Why the last transport was left, until this one has brought text. @type {Reason | null} */
  let leftFor = null;
  let breaks = 0;
  let failures = 0;

  while (!signal.aborted) {
    emit({ type: 'using', transport });
    const before = next.place;
    const outcome = await readOnce(next, environment.transports[transport], auto, environment, (progress) => {
      if (progress.type === 'started') next.reply = progress.reply;
      if (progress.type === 'grew') {
        next.place = progress.place;
        next.rendered = progress.rendered;
        if (leftFor) emit({ type: 'works', transport, reason: leftFor });
        leftFor = null;
      }
      emit(progress);
    }, signal);
    if (signal.aborted || outcome.type === 'end') return;

    if (outcome.type === 'problem' && !outcome.problem.retried) {
      const problem = outcome.problem.details;
      // Signing in again mends that one: the reply is still there, or the request still waits to be sent.
      emit({ type: codeOf(problem) === 'unauthorized' ? 'gave-up' : 'refused', problem });
      return;
    }
    if (outcome.type === 'woken') continue;
    if (next.place !== before) breaks = failures = 0;
    // Without a network failures are no reason to give up. Attempts go on all the same: a service on this
    // machine needs no network.
    if (!environment.online()) failures = Math.min(failures, MAX_ATTEMPTS / 2);
    failures++;
    breaks++;
    if (failures > MAX_ATTEMPTS) {
      emit({ type: 'gave-up', problem: outcome.type === 'problem' ? outcome.problem.details : null });
      return;
    }
    const refused = outcome.type === 'problem';
    const broken = breaks >= MAX_BREAKS && !refused && environment.online();
    const reason = outcome.type === 'fault' ? outcome.reason : broken ? 'broken' : null;
    if (auto && reason) {
      // When even the last one breaks, it is an outage, which breaks all alike: begin again with the best.
      const to = nextTransport(transport) ?? (reason === 'broken' ? FALLBACK_ORDER[0] : null);
      if (to) {
        emit({ type: 'left', from: transport, to, reason });
        // If the best one works, there is nothing to remember: Auto begins with it anyway.
        leftFor = to === FALLBACK_ORDER[0] ? null : reason;
        transport = to;
        breaks = 0;
        // Only a broken connection hints at an outage, which needs a pause; the other faults are the transport's.
        if (reason !== 'broken') continue;
      }
    }
    const askedMs = refused ? (outcome.problem.details.retryAfter ?? 0) * 1000 : outcome.retryMs;
    const ms = askedMs > 0 ? askedMs : backoffMs(failures, environment.random());
    emit({ type: 'waiting', ms, problem: refused ? outcome.problem.details : null });
    await pause(ms, refused, environment, signal);
  }
}

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
 * @param {(progress: Progress) => void} emit
 * @param {AbortSignal} signal
 * @returns {Promise<Outcome>}
 */
async function readOnce(target, transport, auto, environment, emit, signal) {
  const reading = new AbortController();
  const abort = () => reading.abort();
  signal.addEventListener('abort', abort);
  /** @type {Outcome | null} */
  let outcome = null;
  const startedAt = environment.now();
  let { place, rendered, reply } = target;
  const starts = reply === null;
  let retryMs = 0;
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

/**
 * Wait, but no longer than until the network is back or the page is looked at.
 *
 * @param {number} ms
 * @param {boolean} fixed whether the service asked for this pause, so that waking does not shorten it
 * @param {Environment} environment
 * @param {AbortSignal} signal ends the pause
 * @returns {Promise<void>}
 */
function pause(ms, fixed, environment, signal) {
  return new Promise((resolve) => {
    const done = () => {
      cancel();
      unwake();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const cancel = environment.after(done, ms);
    const unwake = environment.onWake(() => {
      if (!fixed) done();
    });
    signal.addEventListener('abort', done);
    // The callback that was given the pause may have aborted already, and an aborted signal fires no event.
    if (signal.aborted) done();
  });
}
