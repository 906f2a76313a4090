/**
 * Snapshots: what follows a place of a reply, and its state, in one JSON answer (PROTOCOL.md sections 2
 * and 4). The long poll reads by them; other transports use one to start a reply or to learn how it ended.
 *
 * @import { ProblemDetails } from '../problems.js'
 * @import { Emit, Target } from './transport.js'
 *
 * @typedef {object} Snapshot
 *   The body of an answer: all parts, or characters from a node of an older version.
 * @property {string} reply the reply's id
 * @property {'running' | 'done' | 'stopped' | 'failed'} state
 * @property {string | null} finish_reason
 * @property {{id: string, data: unknown}[]} [events] all parts: the frames of `chatsvc.v2`
 * @property {string} [text] characters: the text after the position that was asked for
 * @property {string | number} next the place behind it all: `@` and an offset, or a position
 * @property {ProblemDetails} [problem] why the reply failed
 */
import { parseProblem } from '../problems.js';
import { take } from '../units.js';
import { requestReply } from './http.js';
import { EventInterpreter } from './stream-events.js';
import { TransportError } from './transport.js';

/**
 * Ask once for what follows a target's place, and emit what the answer says.
 *
 * @param {Target} target
 * @param {Emit} emit
 * @param {AbortSignal} signal
 * @param {number} wait the seconds that the service may wait for news if there is none, from 0 to 30
 * @returns {Promise<{target: Target, ended: boolean}>} from where to read on, and whether the reply has
 *   ended
 * @throws {Problem} when the service refused
 * @throws {TransportError} when the answer is cut or is not a snapshot
 */
export async function readSnapshot(target, emit, signal, wait) {
  const { response, target: asked } = await requestReply(target, 'application/json', signal, { wait: String(wait) });
  if (response.status === 204) {
    // The place is the end's: nothing is left, and the answer has no body that would say more.
    emit({ type: 'end', state: 'done', problem: null, finishReason: null });
    return { target: asked, ended: true };
  }
  /** @type {Snapshot} */
  let body;
  try {
    body = await response.json();
  } catch (error) {
    if (signal.aborted) throw error;
    throw new TransportError('a cut answer');
  }
  const { reply, state, text, events } = body ?? {};
  if (typeof reply !== 'string' || (typeof text !== 'string' && !Array.isArray(events))) {
    throw new TransportError('not a snapshot');
  }
  emit({ type: 'headers', reply });
  emit({ type: 'alive', stamps: [] });
  let { place } = asked;
  const interpreter = new EventInterpreter((event) => {
    if (event.type === 'unit') ({ place } = take(place, event));
    emit(event);
  });
  if (text) {
    const position = Number(body.next);
    place = { ...place, position };
    emit({ type: 'text', text, position });
  }
  for (const { id, data } of events ?? []) interpreter.receive('message', id, data);
  const next = { ...asked, reply, place };
  if (state === 'running') return { target: next, ended: false };
  if (events) interpreter.receive('message', `${reply}:end`, '[DONE]');
  else emit({ type: 'end', state, problem: problemOf(body), finishReason: body.finish_reason });
  return { target: next, ended: true };
}

/**
 * Return why a reply failed. A node of an older version says only the finish reason: an interrupted reply lost its
 * producer, any other failure is the backend's.
 *
 * @param {Snapshot} body
 * @returns {ProblemDetails | null} null if it did not fail
 */
function problemOf({ state, finish_reason, problem }) {
  if (state !== 'failed') return null;
  const code = finish_reason === 'interrupted' ? 'draining' : 'backend-failed';
  return parseProblem(problem) ?? { type: `/problems/${code}` };
}
