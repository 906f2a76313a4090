/** How long to wait before the next attempt, and when to give up. */

/** Attempts in a row, without a single new character, after which a person is asked. */
export const ATTEMPTS = 8;

/**
 * Milliseconds before an attempt: doubling from a quarter of a second to eight, of which a random half to
 * whole is waited, so that readers whom one outage sent away don't come back together.
 *
 * @param {number} attempt from 1
 * @param {number} random from 0 to 1
 */
export function backoff(attempt, random) {
  return Math.min(8000, 250 * 2 ** (attempt - 1)) * (0.5 + random / 2);
}

/** Problems that pass by themselves: wait and try again. All others need somebody to do something. */
const PASSING = new Set(['too-many-requests', 'overloaded', 'draining', 'store-unavailable']);

/** @param {string} code of PROTOCOL.md section 6 */
export function passes(code) {
  return PASSING.has(code);
}
