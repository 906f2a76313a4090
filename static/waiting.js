/**
 * What a running reply waits for, and for how long already. Pure: the time is handed in.
 *
 * @import { Reply } from './conversation.js'
 * @import { Status } from './current-status.js'
 *
 * @typedef {object} Waiting
 *   Why nothing comes of a reply now.
 * @property {'model' | 'network' | 'connection' | 'service'} kind `model`: it is silent; `network`: the browser knows of
 *   none; `connection`: it broke, and is made anew; `service`: it asked to be left alone for a while
 * @property {string} key of the sentence
 * @property {number} seconds how long it has been silent, or how long the pause still lasts; 0 where nobody knows
 */
import { isAtWork } from './parts.js';
import { codeOf } from './problems.js';

/** How long a model may be silent before that is shown. */
export const SILENCE_MS = 1000;
/** The codes whose pause has a sentence of its own; any other is that of a service that is busy. */
const PAUSING_CODES = new Set(['too-many-requests', 'draining', 'store-unavailable']);

/**
 * Return what a running reply waits for.
 *
 * While the model thinks or a tool runs, the line of that step says so, and for how long.
 *
 * @param {Reply} reply
 * @param {Pick<Status, 'online' | 'waiting' | 'heardAt'>} status
 * @param {number} now monotonic ms
 * @returns {Waiting | null} null if it waits for nothing, or not yet for long enough
 */
export function waitingOf(reply, { online, waiting, heardAt }, now) {
  if (reply.state !== 'running' || reply.stopping) return null;
  if (!online) return { kind: 'network', key: 'waiting.network', seconds: 0 };
  if (waiting?.problem) {
    const code = codeOf(waiting.problem);
    const seconds = Math.max(0, Math.ceil((waiting.until - now) / 1000));
    return { kind: 'service', key: `waiting.${PAUSING_CODES.has(code) ? code : 'overloaded'}`, seconds };
  }
  if (waiting) return { kind: 'connection', key: 'waiting.connection', seconds: 0 };
  if (heardAt === null || now - heardAt < SILENCE_MS || isAtWork(reply.parts)) return null;
  return { kind: 'model', key: 'waiting.model', seconds: Math.floor((now - heardAt) / 1000) };
}
