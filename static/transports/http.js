/**
 * The HTTP request that all transports but the WebSocket begin with (PROTOCOL.md sections 2 and 4).
 *
 * @import { ProblemDetails } from '../problems.js'
 * @import { Target } from './transport.js'
 */
import { codeOf, Problem } from '../problems.js';
import { TransportError } from './transport.js';

/** The media type of an event stream, which brings the rendered blocks too. */
export const EVENT_STREAM = 'text/event-stream';

/**
 * Return the parameters, or the members of a frame, that ask for a reply's rendered blocks beside its units (PROTOCOL.md
 * section 4).
 *
 * @param {Target} target
 * @returns {{render: 'html', rendered?: number}}
 */
export function renderRequest({ rendered }) {
  return rendered > 0 ? { render: 'html', rendered } : { render: 'html' };
}

/**
 * Send the request that starts the reply of a target, or that reads on in it. It asks for all parts of the reply, from
 * an offset, and an event stream for its rendered blocks too, unless the target says that only characters are to be read.
 *
 * A node of an older version refuses an offset; the request is then sent once more, for characters from a position.
 *
 * @param {Target} target
 * @param {string} accept the media type of the representation
 * @param {AbortSignal} signal
 * @param {Record<string, string>} [query] more parameters of the URL
 * @returns {Promise<{response: Response, target: Target}>} a successful response, whose body has not been read, and the
 *   target as it was asked for
 * @throws {Problem} when the service refused
 * @throws {TransportError} when something else answered with an error
 * @throws {TypeError} when the connection failed, as `fetch` reports it
 */
export async function requestReply(target, accept, signal, query = {}) {
  const { base, reply, place, start, characters } = target;
  const url = new URL(reply ? `api/chat/${reply}` : 'api/chat', base);
  const view = accept === EVENT_STREAM ? { view: 'parts', ...renderRequest(target) } : { view: 'parts' };
  setQuery(url, characters ? query : { ...query, ...view });
  /** @type {RequestInit} */
  const init = { headers: { Accept: accept }, signal, cache: 'no-store' };
  if (reply) {
    url.searchParams.set('after', characters ? String(place.position) : `@${place.offset}`);
  } else if (start) {
    init.method = 'POST';
    init.headers = { Accept: accept, 'Content-Type': 'application/json', 'Idempotency-Key': start.key };
    init.body = start.body;
  }
  const response = await fetch(url, init);
  if (response.ok) return { response, target };
  const error = await errorOf(response);
  const refusesOffset = error instanceof Problem && codeOf(error.details) === 'bad-cursor';
  if (!refusesOffset || !reply || characters) throw error;
  return requestReply({ ...target, characters: true }, accept, signal, query);
}

/**
 * Set parameters of a URL.
 *
 * @param {URL} url
 * @param {Record<string, string | number>} query
 */
export function setQuery(url, query) {
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
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
