/** Exponential back-off: how long to wait before the next attempt, and when to give up. Pure. */

/** The number of failed attempts in a row, without one new character, after which reading is given up. */
export const MAX_ATTEMPTS = 8;

/** The longest pause before the first attempt, doubled for each further one. */
const BASE_MS = 250;
/** The longest pause before any attempt. */
const CEILING_MS = 8000;

/**
 * Return how long to wait before an attempt: half of its longest pause, and a random part of the other
 * half, so that readers whom one outage disconnected do not come back all at once.
 *
 * @param {number} attempt the number of failures so far, from 1
 * @param {number} random from 0 to 1
 * @returns {number} milliseconds
 */
export function backoffMs(attempt, random) {
  return Math.min(CEILING_MS, BASE_MS * 2 ** (attempt - 1)) * (0.5 + random / 2);
}
