/**
 * The rules of "Auto": when a transport is left, and for which other one.
 *
 * Invariants:
 * - Pure: the time is an argument, in milliseconds; no clock is read and no timer is set.
 * - A watch has a `deadline`: silence until then is no fault. Its owner calls `observe` with every event of the
 *   reading when it comes, and with `{type: 'time'}` at the deadline.
 *
 * @import { TransportEvent, TransportName } from './transports/transport.js'
 *
 * @typedef {'headers' | 'first-byte' | 'buffered' | 'silent' | 'broken'} Reason
 *   Why a transport is left, as it is kept in the browser's storage. `headers`: no answer began in time;
 *   `first-byte`: no byte followed the head in time; `buffered`: a proxy holds bytes back; `silent`: the
 *   heartbeats stopped; `broken`: the connection broke again and again.
 *
 * @typedef {object} Watch
 *   The state of watching one reading.
 * @property {TransportName} transport the one that reads
 * @property {number} deadline when silence becomes a fault (monotonic ms); `Infinity` after the end
 * @property {'headers' | 'first-byte' | 'silent'} fault the reason to leave at the deadline
 * @property {{stamp: number, at: number} | null} stamp the last server time (unix ms), and when it came
 *
 * @typedef {{transport: TransportName, reason: Reason, until: number}} Verdict
 *   What Auto has learnt about this network, as it is kept in the browser's storage: the transport that
 *   works, why a better one does not, and until when this is believed (unix ms).
 */

/** The transports that Auto uses, from the best to the one that works anywhere. */
export const FALLBACK_ORDER = /** @type {const} */ (['sse', 'websocket', 'poll']);

/** How long the head of an answer may take. A buffering proxy holds it back until the reply has ended. */
export const HEADERS_TIMEOUT_MS = 4000;
/** How long a transport may be silent before another one reads beside it: the service sends something at once. */
export const RACE_AFTER_MS = 1000;
/** How long after the start of one that reads beside it the next one starts, too (RFC 8305, section 5, has the same). */
export const RACE_STAGGER_MS = 250;
/** How long the first byte of an event stream may take behind its head: the service sends it at once. */
export const FIRST_BYTE_TIMEOUT_MS = 1000;
/** How long a reading may be silent: two and a half of the service's heartbeats of 15 s. */
export const SILENCE_TIMEOUT_MS = 2.5 * 15000;
/** Stamps of server time this far apart were sent in two writes (PROTOCOL.md section 3) … */
const SEPARATE_STAMPS_MS = 500;
/** … so they were held back if they come within the time of one read. */
const ONE_READ_MS = 20;
/** The breaks in a row without new text after which a transport is left: the first, and those of two resumes. */
export const MAX_BREAKS = 3;
/**
 * How long a verdict is believed. Then the better transport is tried again: the reader may use another network, or the
 * better one was only slow. If it fails again, that costs a second.
 */
export const VERDICT_LIFETIME_MS = 900_000;

/**
 * Return the watch over a reading that begins now.
 *
 * @param {TransportName} transport
 * @param {number} now monotonic ms
 * @returns {Watch}
 */
export function startWatch(transport, now) {
  // A long poll may rightly keep its head back until there is text, for as long as it was asked to wait.
  return transport === 'poll'
    ? { transport, deadline: now + SILENCE_TIMEOUT_MS, fault: 'silent', stamp: null }
    : { transport, deadline: now + HEADERS_TIMEOUT_MS, fault: 'headers', stamp: null };
}

/**
 * Return the watch after an event, and the reason to leave the transport if the event shows one.
 *
 * @param {Watch} before
 * @param {TransportEvent | {type: 'time'}} event an event of the reading, or the passing of time alone
 * @param {number} now monotonic ms
 * @returns {{watch: Watch, reason: Reason | null}}
 */
export function observe(before, event, now) {
  /** @type {Watch} */
  const alive = { ...before, deadline: now + SILENCE_TIMEOUT_MS, fault: 'silent' };
  switch (event.type) {
    case 'headers':
      // Only an event stream promises bytes at once; a socket is silent until there is text.
      if (before.transport !== 'sse') return { watch: alive, reason: null };
      return { watch: { ...before, deadline: now + FIRST_BYTE_TIMEOUT_MS, fault: 'first-byte' }, reason: null };
    case 'alive': {
      let last = before.stamp;
      let bunched = false;
      for (const stamp of event.stamps) {
        bunched ||= last !== null && stamp - last.stamp >= SEPARATE_STAMPS_MS && now - last.at < ONE_READ_MS;
        last = { stamp, at: now };
      }
      return { watch: { ...alive, stamp: last }, reason: bunched ? 'buffered' : null };
    }
    case 'text':
    case 'unit':
    case 'block':
    case 'retry':
      return { watch: alive, reason: null };
    case 'end':
      return { watch: { ...before, deadline: Infinity }, reason: null };
    case 'time':
      if (now < before.deadline) return { watch: before, reason: null };
      // A reading may go on in spite of this fault; then it must still be noticed when the connection dies.
      return { watch: alive, reason: before.fault };
  }
}

/**
 * Return whether a transport should bring something at once, even if there is no text yet.
 *
 * @param {TransportName} transport
 * @param {boolean} starts whether the reading has to start the reply
 * @returns {boolean}
 */
export function bringsAtOnce(transport, starts) {
  // A long poll is answered when there is news, but for the one that starts the reply.
  return transport !== 'poll' || starts;
}

/**
 * Return whether an event shows that a transport gets through.
 *
 * @param {TransportName} transport
 * @param {TransportEvent} event
 * @returns {boolean}
 */
export function gives(transport, event) {
  // A proxy may hold a body back that it has announced. An upgrade opens a tunnel, which is silent until there is text.
  return event.type !== 'headers' || transport === 'websocket';
}

/**
 * Return the transports that may read beside one that is silent, in the order in which they start.
 *
 * @param {TransportName} transport
 * @returns {TransportName[]} those that follow it, then those before it
 */
export function othersThan(transport) {
  const at = FALLBACK_ORDER.findIndex((name) => name === transport) + 1;
  return [...FALLBACK_ORDER.slice(at), ...FALLBACK_ORDER.slice(0, at)].filter((name) => name !== transport);
}

/**
 * Return the transport that follows one that is left.
 *
 * @param {TransportName} transport
 * @returns {TransportName | null} null behind the last; the first for one that Auto does not use
 */
export function nextTransport(transport) {
  return FALLBACK_ORDER[FALLBACK_ORDER.findIndex((name) => name === transport) + 1] ?? null;
}

/**
 * Return what Auto has learnt by a transport that works where another one did not.
 *
 * @param {TransportName} transport
 * @param {Reason} reason why the other one was left
 * @param {number} now unix ms
 * @returns {Verdict | null} null for the best transport, with which Auto begins anyway
 */
export function verdictOn(transport, reason, now) {
  return transport === FALLBACK_ORDER[0] ? null : { transport, reason, until: now + VERDICT_LIFETIME_MS };
}

/**
 * Return the transport that Auto begins with: that of the verdict as long as it is believed, else the best.
 *
 * @param {Verdict | null} verdict
 * @param {number} now unix ms
 * @returns {TransportName}
 */
export function initialTransport(verdict, now) {
  return verdict && now < verdict.until ? verdict.transport : FALLBACK_ORDER[0];
}
