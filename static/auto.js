/**
 * When to leave a transport, and for which: the rules of "Auto", as values in and values out.
 *
 * Always true here: time is a number that is handed in (ms); nothing is read from a clock and no timer is set. A watch
 * says until when nothing is wrong (`deadline`); whoever drives it calls `observe` with `{type: 'time'}` then.
 *
 * @import { Sight, TransportName } from './transports/transport.js'
 *
 * @typedef {'headers' | 'first-byte' | 'buffered' | 'silent' | 'broken'} Reason why a transport is left
 *
 * @typedef {object} Watch one reading over one transport
 * @property {TransportName} transport
 * @property {number} deadline when it becomes a fault that nothing happened; Infinity if never
 * @property {'headers' | 'first-byte' | 'silent'} fault which one it then is
 * @property {{stamp: number, at: number} | null} stamp the last server time seen, and when
 *
 * @typedef {{transport: TransportName, reason: Reason, until: number}} Verdict what was learnt about this origin
 */

/** From the best to the one that works anywhere. */
export const ORDER = /** @type {const} */ (['sse', 'websocket', 'poll']);

export const HEADERS_MS = 4000;
export const FIRST_BYTE_MS = 1000;
/** Two and a half of the server's heartbeats, which come every 15 s. */
export const SILENCE_MS = 2.5 * 15000;
/** Server time between two stamps that never belong into one read, and the time that a read may take. */
const STAMP_MS = 500;
const ONE_READ_MS = 20;
/** A break, and two resumes that did not mend it. */
export const BREAKS = 3;
export const VERDICT_MS = 3600_000;

/**
 * @param {TransportName} transport
 * @param {number} now
 * @returns {Watch}
 */
export function watch(transport, now) {
  // A long poll may rightly keep its headers until there is text, at most as long as it was told to wait.
  return transport === 'poll'
    ? { transport, deadline: now + SILENCE_MS, fault: 'silent', stamp: null }
    : { transport, deadline: now + HEADERS_MS, fault: 'headers', stamp: null };
}

/**
 * @param {Watch} before
 * @param {Sight | {type: 'time'}} sight
 * @param {number} now
 * @returns {{watch: Watch, reason: Reason | null}}
 */
export function observe(before, sight, now) {
  /** @type {Watch} */
  const lives = { ...before, deadline: now + SILENCE_MS, fault: 'silent' };
  switch (sight.type) {
    case 'headers':
      // Only an event stream promises bytes at once; a socket is silent until there is text.
      if (before.transport !== 'sse') return { watch: lives, reason: null };
      return { watch: { ...before, deadline: now + FIRST_BYTE_MS, fault: 'first-byte' }, reason: null };
    case 'alive': {
      let stamp = before.stamp;
      let bunched = false;
      for (const time of sight.stamps) {
        bunched ||= stamp !== null && time - stamp.stamp >= STAMP_MS && now - stamp.at < ONE_READ_MS;
        stamp = { stamp: time, at: now };
      }
      return { watch: { ...lives, stamp }, reason: bunched ? 'buffered' : null };
    }
    case 'text':
    case 'retry':
      return { watch: lives, reason: null };
    case 'end':
      return { watch: { ...before, deadline: Infinity }, reason: null };
    case 'time':
      if (now < before.deadline) return { watch: before, reason: null };
      // Whoever stays in spite of a fault is still told when the connection is dead.
      return { watch: lives, reason: before.fault };
  }
}

/**
 * The transport to go to from one that is left; the last has no next.
 *
 * @param {TransportName} transport
 * @returns {TransportName | null}
 */
export function next(transport) {
  return ORDER[ORDER.findIndex((name) => name === transport) + 1] ?? null;
}

/**
 * Where Auto begins: at the best one, unless a better one was found wanting within the last hour.
 *
 * @param {Verdict | null} verdict
 * @param {number} now unix ms
 * @returns {TransportName}
 */
export function first(verdict, now) {
  return verdict && now < verdict.until ? verdict.transport : ORDER[0];
}
