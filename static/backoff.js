/** Exponential back-off: how long to wait before the next attempt, and when to give up. Pure. */

/** The number of attempts in a row that may fail without one new character; with one more, reading is given up. */
export const MAX_ATTEMPTS = 8;

/** The longest pause after the first failure, doubled with each further one. */
const BASE_MS = 250;
/** The longest pause before any attempt. */
const CEILING_MS = 8000;

/**
 * Return how long to wait before the next attempt: half of its longest pause, and a random part of the other
 * half, so that readers whom one outage disconnected do not come back all at once.
 *
 * @param {number} failures the number of failures in a row so far, from 1
 * @param {number} random from 0 to 1
 * @returns {number} milliseconds
 */
export function backoffMs(failures, random) {
  return Math.min(CEILING_MS, BASE_MS * 2 ** (failures - 1)) * (0.5 + random / 2);
}
