/**
 * The HTTP request that all transports but the WebSocket begin with (PROTOCOL.md section 2).
 *
 * @import { ProblemDetails } from '../problems.js'
 * @import { Target } from './transport.js'
 */
import { Problem } from '../problems.js';
import { TransportError } from './transport.js';

/**
 * Send the request that starts the reply of a target, or that reads on in it.
 *
 * @param {Target} target
 * @param {string} accept the media type of the representation
 * @param {AbortSignal} signal
 * @param {Record<string, string>} [query] more parameters of the URL
 * @returns {Promise<Response>} a successful response, whose body has not been read
 * @throws {Problem} when the service refused
 * @throws {TransportError} when something else answered with an error
 * @throws {TypeError} when the connection failed, as `fetch` reports it
 */
export async function requestReply(target, accept, signal, query = {}) {
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
  if (!response.ok) throw await errorOf(response);
  return response;
}

/**
 * Return the error that an unsuccessful response stands for.
 *
 * @param {Response} response
 * @returns {Promise<Problem | TransportError>}
 */
async function errorOf(response) {
  const type = response.headers.get('Content-Type') ?? '';
  if (!type.startsWith('application/problem+json')) return new TransportError(`HTTP ${response.status}`);
  try {
    /** @type {ProblemDetails} */
    const details = await response.json();
    const retryAfter = Number(response.headers.get('Retry-After'));
    return new Problem(retryAfter > 0 ? { ...details, retryAfter } : details);
  } catch {
    return new TransportError(`HTTP ${response.status}`);
  }
}
