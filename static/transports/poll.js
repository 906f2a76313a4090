/**
 * Long polls: whole small answers, which pass through anything that lets a page through (PROTOCOL.md section 2).
 *
 * @import { Sight, Target, Transport } from './transport.js'
 */
import { Broken, request } from './transport.js';

/** Seconds. Below the server's 30 and below the idle time-outs of common proxies. */
const WAIT = 20;

/** @type {Transport} */
export const poll = {
  name: 'poll',
  async read(target, see, signal) {
    for (let at = target, ended = false; !ended; ) {
      // A reply that is new answers at once, so that its first words don't wait for more.
      ({ target: at, ended } = await snapshot(at, see, signal, at.reply ? WAIT : 0));
    }
  },
};

/**
 * Asks once for the text after a position.
 *
 * @param {Target} target
 * @param {(sight: Sight) => void} see
 * @param {AbortSignal} signal
 * @param {number} wait seconds to wait for text if there is none
 * @returns {Promise<{target: Target, ended: boolean}>} from where to go on
 */
export async function snapshot(target, see, signal, wait) {
  const response = await request(target, 'application/json', signal, { wait: String(wait) });
  if (response.status === 204) {
    // The cursor stands at the end: nothing is left but the end itself.
    see({ type: 'end', state: 'done', problem: null });
    return { target, ended: true };
  }
  /** @type {{reply: string, state: 'running' | 'done' | 'stopped' | 'failed', finish_reason: string | null, text: string, next: number}} */
  let body;
  try {
    body = await response.json();
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Broken('a cut answer');
  }
  if (typeof body?.reply !== 'string' || typeof body.text !== 'string') throw new Broken('not a snapshot');
  see({ type: 'headers', reply: body.reply });
  see({ type: 'alive', stamps: [] });
  if (body.text) see({ type: 'text', text: body.text, to: body.next });
  const at = { ...target, reply: body.reply, after: body.next };
  if (body.state === 'running') return { target: at, ended: false };
  // More than the reason a snapshot does not tell.
  const code = body.finish_reason === 'interrupted' ? 'draining' : 'backend-failed';
  const problem = body.state === 'failed' ? { type: `/problems/${code}` } : null;
  see({ type: 'end', state: body.state, problem });
  return { target: at, ended: true };
}
