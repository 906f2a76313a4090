/**
 * The service's errors, in the vocabulary of PROTOCOL.md section 6: their shape, and which of them
 * pass by themselves. Pure: values in, values out.
 */

/**
 * The details of a problem as RFC 9457 has them, and the pause that its answer asked for.
 *
 * @typedef {object} ProblemDetails
 * @property {string} type `/problems/<code>`, the code alone if a WebSocket's close code stands for it, or
 *   `about:blank` if the service named none
 * @property {string} [title]
 * @property {number} [status] the HTTP status
 * @property {string} [detail] what went wrong this time, in words for a person
 * @property {string} [reason] of `backend-failed` alone, and missing from older nodes: `busy`, `refused`,
 *   `misconfigured` or `broken`
 * @property {number} [retryAfter] seconds, from the header `Retry-After`, or from a member `retry_after`
 */

/**
 * The codes after which a reader comes back by itself, waiting as long as `Retry-After` says: those
 * that PROTOCOL.md section 6 sends with that header. Every other code needs a person to do something.
 */
export const RETRIED_CODES = new Set(['too-many-requests', 'overloaded', 'draining', 'store-unavailable']);

/**
 * The code that each WebSocket close code stands for, where it says more than "broken" (PROTOCOL.md
 * section 6). Where several codes share one close code, the page treats them alike.
 */
export const CODE_OF_CLOSE = new Map([
  [1003, 'unsupported-media-type'],
  [1007, 'bad-json'],
  [1009, 'too-large'],
  [1012, 'draining'],
  [1013, 'overloaded'],
  [4401, 'unauthorized'],
  [4404, 'reply-not-found'],
  [4409, 'cursor-past-end'],
  [4410, 'reply-expired'],
  [4422, 'invalid-request'],
  [4429, 'too-many-requests'],
  [4502, 'backend-failed'],
]);

/** The error of a request that the service itself refused. */
export class Problem extends Error {
  /** @param {ProblemDetails} details */
  constructor(details) {
    super(details.title ?? details.type);
    this.name = 'Problem';
    this.details = details;
  }

  /** Whether the request may succeed when it is repeated later: its code is in `RETRIED_CODES`. */
  get retried() {
    return RETRIED_CODES.has(codeOf(this.details));
  }
}

/**
 * Return the code of a problem, such as `reply-expired`.
 *
 * @param {ProblemDetails | null} problem
 * @returns {string} empty if there is no problem
 */
export function codeOf(problem) {
  return problem?.type.split('/').pop() ?? '';
}

/**
 * Return the details of a problem that came as an event's data. Data from a server may have any shape,
 * so a missing `type` becomes `about:blank`.
 *
 * @param {unknown} data an object, or an object as JSON
 * @returns {ProblemDetails | null} null if it is neither
 */
export function parseProblem(data) {
  let value = data;
  if (typeof value === 'string') {
    try {
      value = JSON.parse(value);
    } catch {
      return null;
    }
  }
  if (typeof value !== 'object' || value === null) return null;
  const details = /** @type {ProblemDetails & {retry_after?: unknown}} */ ({ type: 'about:blank', ...value });
  const { retry_after: seconds } = details;
  return typeof seconds === 'number' && seconds > 0 ? { ...details, retryAfter: seconds } : details;
}
