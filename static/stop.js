/**
 * Stopping a reply at the service (PROTOCOL.md section 7), however little of it is known here.
 *
 * @import { Reply } from './conversation.js'
 * @import { Environment } from './reading.js'
 */
import { readSnapshot } from './transports/snapshot.js';
import { START } from './units.js';

/** The pause before a request to stop that did not reach the service is repeated. */
const RETRY_MS = 1000;
/** How long the answer to it may take: the service answers after 2 s at the latest. */
const TIMEOUT_MS = 4000;

/**
 * Ask the service to stop a reply, again and again until it has answered or the reply runs no more. It never
 * rejects.
 *
 * A browser has six connections for one HTTP/1.1 host, which all its windows share. Let go of the reply's stream
 * before, or these requests may wait for the end of somebody's.
 *
 * @param {URL} base where chatsvc is mounted
 * @param {Pick<Reply, 'reply' | 'key' | 'body'>} reply the reply, whose id may not be known yet
 * @param {Environment} environment
 * @param {() => boolean} isRunning whether the reply still runs, as far as the page knows
 * @returns {Promise<string | null>} the reply's id, after the first attempt; null if it could not be learnt, so that
 *   nothing was stopped
 */
export async function stopReply(base, { reply, key, body }, environment, isRunning) {
  const id = reply ?? (body === null ? null : await requestReplyId(base, { key, body }, environment));
  if (id) await requestStop(base, id, environment, isRunning);
  return id;
}

/**
 * Ask the service to stop a reply whose id is known.
 *
 * @param {URL} base where chatsvc is mounted
 * @param {string} reply the reply's id
 * @param {Environment} environment
 * @param {() => boolean} isRunning whether the reply still runs, as far as the page knows
 * @returns {Promise<void>} fulfilled after the first attempt, or when that takes too long; it then goes on
 */
async function requestStop(base, reply, environment, isRunning) {
  const url = new URL(`api/chat/${reply}/stop`, base);
  // `keepalive` lets the request outlive a page that is closed right after it. Of the requests that wait for a
  // connection it comes first.
  const asked = fetch(url, { method: 'POST', keepalive: true, priority: 'high' }).catch(() => null).then((response) => {
    // A status from 500 is that of a proxy, or of a service that cannot stop anything now.
    if (response && response.status < 500) return;
    environment.after(() => {
      if (isRunning()) requestStop(base, reply, environment, isRunning);
    }, RETRY_MS);
  });
  await Promise.race([asked, new Promise((resolve) => environment.after(() => resolve(null), TIMEOUT_MS))]);
}

/**
 * Ask for the id of a reply that was started a moment ago, by repeating its request with the same idempotency
 * key: a reading that was let go may not have said it yet. It never rejects.
 *
 * @param {URL} base where chatsvc is mounted
 * @param {{key: string, body: string}} start
 * @param {Environment} environment
 * @returns {Promise<string | null>} null if the service cannot be reached or refuses
 */
async function requestReplyId(base, start, environment) {
  const target = { base, reply: null, place: START, rendered: 0, start };
  const late = new AbortController();
  const disarm = environment.after(() => late.abort(), TIMEOUT_MS);
  try {
    const { target: started } = await readSnapshot(target, () => {}, late.signal, 0);
    return started.reply;
  } catch {
    return null;
  } finally {
    disarm();
  }
}
