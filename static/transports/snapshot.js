/**
 * Snapshots: the text of a reply after a position, and its state, in one JSON answer (PROTOCOL.md
 * section 2). The long poll reads by them; other transports use one to start a reply or to learn how
 * it ended.
 *
 * @import { Emit, Target } from './transport.js'
 *
 * @typedef {object} Snapshot
 *   The body of an answer (PROTOCOL.md section 2).
 * @property {string} reply the reply's id
 * @property {'running' | 'done' | 'stopped' | 'failed'} state
 * @property {string | null} finish_reason
 * @property {string} text the text after the position that was asked for
 * @property {number} next the position behind the text
 */
import { requestReply } from './http.js';
import { TransportError } from './transport.js';

/**
 * Ask once for the text after a target's position, and emit what the answer says.
 *
 * @param {Target} target
 * @param {Emit} emit
 * @param {AbortSignal} signal
 * @param {number} wait the seconds that the service may wait for text if there is none, from 0 to 30
 * @returns {Promise<{target: Target, ended: boolean}>} from where to read on, and whether the reply has
 *   ended
 * @throws {Problem} when the service refused
 * @throws {TransportError} when the answer is cut or is not a snapshot
 */
export async function readSnapshot(target, emit, signal, wait) {
  const response = await requestReply(target, 'application/json', signal, { wait: String(wait) });
  if (response.status === 204) {
    // The position is the end's: no text is left, and the answer has no body that would say more.
    emit({ type: 'end', state: 'done', problem: null });
    return { target, ended: true };
  }
  /** @type {Snapshot} */
  let body;
  try {
    body = await response.json();
  } catch (error) {
    if (signal.aborted) throw error;
    throw new TransportError('a cut answer');
  }
  if (typeof body?.reply !== 'string' || typeof body.text !== 'string') throw new TransportError('not a snapshot');
  emit({ type: 'headers', reply: body.reply });
  emit({ type: 'alive', stamps: [] });
  if (body.text) emit({ type: 'text', text: body.text, position: body.next });
  const next = { ...target, reply: body.reply, after: body.next };
  if (body.state === 'running') return { target: next, ended: false };
  // A snapshot has no problem, only the finish reason, so the problem is derived from that: an interrupted
  // reply lost its producer, any other failure is the backend's.
  const code = body.finish_reason === 'interrupted' ? 'draining' : 'backend-failed';
  const problem = body.state === 'failed' ? { type: `/problems/${code}` } : null;
  emit({ type: 'end', state: body.state, problem });
  return { target: next, ended: true };
}
