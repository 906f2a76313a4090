/**
 * The one interface that all transports have, and what they share: requests, and problems (PROTOCOL.md section 6).
 *
 * A transport reads one reply, once, from one position, and says what it sees. It neither retries nor decides:
 * that is the work of `follow.js` and `auto.js`. Its promise is fulfilled when the body ends, with or without an end of
 * the reply in it, and rejected when there is nothing to read.
 *
 * @typedef {'sse' | 'eventsource' | 'websocket' | 'text' | 'poll'} TransportName
 *
 * @typedef {object} Target what to read
 * @property {URL} base where chatsvc is mounted, ending in a slash
 * @property {string | null} reply the reply's id; null as long as it has to be started
 * @property {number} after the position from which to read
 * @property {{key: string, body: string} | null} start how to start it, and the idempotency key
 *
 * @typedef {{type: 'headers', reply: string | null}
 *   | {type: 'alive', stamps: number[]}
 *   | {type: 'text', text: string, to: number}
 *   | {type: 'retry', ms: number}
 *   | {type: 'end', state: 'done' | 'stopped' | 'failed', problem: ProblemDetails | null}} Sight
 *   `headers`: an answer began; `alive`: bytes came, with these server times (unix ms) in one read; `text`: characters,
 *   and the position after them; `retry`: the server asks for this pause; `end`: of the reply, not of the body.
 *
 * @typedef {{type: string, title?: string, status?: number, detail?: string, retryAfter?: number}} ProblemDetails
 *
 * @typedef {object} Transport
 * @property {TransportName} name
 * @property {(target: Target, see: (sight: Sight) => void, signal: AbortSignal) => Promise<void>} read
 */

/** The server's refusal, in its own vocabulary. */
export class Problem extends Error {
  /** @param {ProblemDetails} details */
  constructor(details) {
    super(details.title ?? details.type);
    this.name = 'Problem';
    this.details = details;
  }

  /** The code of PROTOCOL.md section 6, such as `reply-expired`. */
  get code() {
    return codeOf(this.details);
  }
}

/** @param {ProblemDetails | null} problem */
export function codeOf(problem) {
  return problem?.type.split('/').pop() ?? '';
}

/** An answer that is not the service's: something between refused or failed. */
export class Broken extends Error {
  /** @param {string} why */
  constructor(why) {
    super(why);
    this.name = 'Broken';
  }
}

/**
 * The request that starts the reply of a target, or reads on in it.
 *
 * @param {Target} target
 * @param {string} accept
 * @param {AbortSignal} signal
 * @param {Record<string, string>} [query]
 * @returns {Promise<Response>} a successful one
 * @throws {Problem | Broken}
 */
export async function request(target, accept, signal, query = {}) {
  const { base, reply, after, start } = target;
  const url = new URL(reply ? `api/chat/${reply}` : 'api/chat', base);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  /** @type {RequestInit} */
  const init = { headers: { Accept: accept }, signal, cache: 'no-store' };
  if (reply) {
    url.searchParams.set('after', String(after));
  } else if (start) {
    init.method = 'POST';
    init.headers = { Accept: accept, 'Content-Type': 'application/json', 'Idempotency-Key': start.key };
    init.body = start.body;
  }
  const response = await fetch(url, init);
  if (!response.ok) throw await refusal(response);
  return response;
}

/**
 * The error that an unsuccessful answer stands for.
 *
 * @param {Response} response
 * @returns {Promise<Problem | Broken>}
 */
export async function refusal(response) {
  const type = response.headers.get('Content-Type') ?? '';
  if (!type.startsWith('application/problem+json')) return new Broken(`HTTP ${response.status}`);
  try {
    /** @type {ProblemDetails} */
    const details = await response.json();
    const retryAfter = Number(response.headers.get('Retry-After'));
    return new Problem(retryAfter > 0 ? { ...details, retryAfter } : details);
  } catch {
    return new Broken(`HTTP ${response.status}`);
  }
}

/**
 * The details of a problem that came inside a stream; they are data of a server, so their shape is looked at.
 *
 * @param {unknown} data
 * @returns {ProblemDetails | null}
 */
export function asProblem(data) {
  let value = data;
  if (typeof value === 'string') {
    try {
      value = JSON.parse(value);
    } catch {
      return null;
    }
  }
  if (typeof value !== 'object' || value === null) return null;
  return /** @type {ProblemDetails} */ ({ type: 'about:blank', ...value });
}
