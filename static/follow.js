/**
 * Following one reply to its end, over as many readings and transports as that takes.
 *
 * It knows neither the DOM nor a real clock: all that it uses of the browser is an `Environment`, so that tests
 * run it under node with another one.
 *
 * Invariants:
 * - What comes in `grew` is in order, each unit and each character once.
 * - The last progress is exactly one of `end`, `refused` and `gave-up`; after an abort there is none.
 *
 * @import { Reason } from './auto.js'
 * @import { ProblemDetails } from './problems.js'
 * @import { Brought, Environment } from './reading.js'
 * @import { Target, TransportName } from './transports/transport.js'
 *
 * @typedef {{type: 'using', transport: TransportName}
 *   | Exclude<Brought, {type: 'answered' | 'gives'}>
 *   | {type: 'left', from: TransportName, to: TransportName, reason: Reason}
 *   | {type: 'works', transport: TransportName, reason: Reason}
 *   | {type: 'waiting', ms: number, problem: ProblemDetails | null}
 *   | {type: 'refused', problem: ProblemDetails}
 *   | {type: 'gave-up', problem: ProblemDetails | null}} Progress
 *   What happens while a reply is followed. `using`: a reading begins, or another one is kept; `left`: the transport is
 *   changed; `works`: the transport to which this has changed has brought something, so it is worth remembering;
 *   `waiting`: a pause before the next attempt, because of a problem if the service named one; `refused`:
 *   a problem that does not pass by itself; `gave-up`: too many attempts have failed, the last one with this
 *   problem, or the reader has to sign in again. The others are what a reading brings.
 *
 * @typedef {object} FollowOptions
 *   Which reply to follow, and how.
 * @property {Target} target
 * @property {TransportName} transport the one to begin with
 * @property {boolean} auto whether it may be left for another
 */
import { FALLBACK_ORDER, MAX_BREAKS, nextTransport } from './auto.js';
import { backoffMs, MAX_ATTEMPTS } from './backoff.js';
import { codeOf } from './problems.js';
import { readFirst } from './race.js';
import { readOnce } from './reading.js';

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
  /** Why the last transport was left, until this one has brought something. @type {Reason | null} */
  let leftFor = null;
  let breaks = 0;
  let failures = 0;

  /** @param {TransportName} to @param {Reason} reason */
  const change = (to, reason) => {
    emit({ type: 'left', from: transport, to, reason });
    leftFor = reason;
    transport = to;
    breaks = 0;
  };
  /** @param {Brought} brought */
  const receive = (brought) => {
    if (brought.type === 'gives' && leftFor) {
      emit({ type: 'works', transport, reason: leftFor });
      leftFor = null;
    }
    if (brought.type === 'answered' || brought.type === 'gives') return;
    if (brought.type === 'started') next.reply = brought.reply;
    if (brought.type === 'grew') {
      next.place = brought.place;
      next.rendered = brought.rendered;
    }
    emit(brought);
  };

  while (!signal.aborted) {
    emit({ type: 'using', transport });
    const before = next.place;
    const outcome = auto
      ? await readFirst(next, transport, environment, receive, signal, (to, reason) => {
        change(to, reason);
        emit({ type: 'using', transport });
      })
      : await readOnce(next, environment.transports[transport], auto, environment, receive, signal);
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
        change(to, reason);
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
