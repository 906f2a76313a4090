/**
 * Stopping a reply at the service (PROTOCOL.md section 7), however little of it is known here.
 *
 * @import { Environment } from './follow.js'
 */
import { readSnapshot } from './transports/snapshot.js';
import { START } from './units.js';

/** The pause before a request to stop that did not reach the service is repeated. */
const RETRY_MS = 1000;

/**
 * Ask the service to stop a reply, again and again until it has answered or the reply runs no more. It never
 * rejects.
 *
 * @param {URL} base where chatsvc is mounted
 * @param {string} reply the reply's id
 * @param {Environment} environment
 * @param {() => boolean} isRunning whether the reply still runs, as far as the page knows
 * @returns {Promise<void>} fulfilled after the first attempt
 */
export async function requestStop(base, reply, environment, isRunning) {
  const url = new URL(`api/chat/${reply}/stop`, base);
  // `keepalive` lets the request outlive a page that is closed right after it.
  const response = await fetch(url, { method: 'POST', keepalive: true }).catch(() => null);
  // A status from 500 is that of a proxy, or of a service that cannot stop anything now.
  if (response && response.status < 500) return;
  environment.after(() => {
    if (isRunning()) requestStop(base, reply, environment, isRunning);
  }, RETRY_MS);
}

/**
 * Ask for the id of a reply that was started a moment ago, by repeating its request with the same idempotency
 * key. Over a WebSocket a reply has no id before its first character. It never rejects.
 *
 * @param {URL} base where chatsvc is mounted
 * @param {{key: string, body: string}} start
 * @param {AbortSignal} signal
 * @returns {Promise<string | null>} null if the service cannot be reached or refuses
 */
export async function requestReplyId(base, start, signal) {
  const target = { base, reply: null, place: START, rendered: 0, start };
  try {
    const { target: started } = await readSnapshot(target, () => {}, signal, 0);
    return started.reply;
  } catch {
    return null;
  }
}
