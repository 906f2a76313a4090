/**
 * The interface of all transports.
 *
 * A transport reads one reply, once, from one position, and emits what comes. It never retries and
 * never decides: that is the work of `follow.js` and `auto.js`.
 *
 * @import { ProblemDetails } from '../problems.js'
 * @import { Arrival, Place } from '../units.js'
 *
 * @typedef {'sse' | 'eventsource' | 'websocket' | 'text' | 'poll'} TransportName
 *   A transport's name, as it stands in the page's menu and in the browser's storage.
 *
 * @typedef {object} Target
 *   The reply to read, and from where.
 * @property {URL} base where chatsvc is mounted, ending in a slash
 * @property {string | null} reply the reply's id; null if the reading has to start it
 * @property {Place} place how far it is here
 * @property {number} rendered the position from which its rendered blocks are wanted: what is before it is here
 * @property {boolean} [characters] whether this reading has met a node of an older version, which knows no parts and no
 *   offsets (PROTOCOL.md section 4); it then reads the answer's text alone, by position
 * @property {{key: string, body: string} | null} start the idempotency key and the JSON body of the
 *   request that starts the reply; null if it was started elsewhere
 *
 * @typedef {{type: 'headers', reply: string | null}
 *   | {type: 'alive', stamps: number[]}
 *   | Arrival
 *   | {type: 'retry', ms: number}
 *   | End} TransportEvent
 *   An event of one reading. `headers`: an answer began, for this reply if its id is known; `alive`:
 *   bytes came, with these server times (unix ms) in one read; an arrival: units or characters, some of
 *   which may have come before; `retry`: the server asks for this pause before the next reading.
 *
 * @typedef {{type: 'end', state: 'done' | 'stopped' | 'failed', problem: ProblemDetails | null,
 *   finishReason: string | null}} End
 *   The end of a reply (the end of a body alone is no event), why it failed, and its `finish_reason` (PROTOCOL.md
 *   section 1), which a view of characters does not say.
 *
 * @typedef {(event: TransportEvent) => void} Emit
 *   A callback that takes the events of a reading, in order. It does not throw.
 *
 * @typedef {(target: Target, emit: Emit, signal: AbortSignal) => Promise<void>} Read
 *   A function that reads a reply until its end, its body's end or an abort. The promise is fulfilled
 *   when the body has ended, whether or not the reply has. It is rejected with a `Problem` when the
 *   service refused, with a `TransportError` or the browser's own error when the connection failed, and
 *   with the signal's reason after an abort.
 *
 * @typedef {object} Transport
 *   One way to read a reply.
 * @property {TransportName} name its key in the table
 * @property {boolean} renders whether it brings the rendered blocks too, unless the node is of an older version
 * @property {Read} read reads once, without retries
 */

/** The error of an answer or a close that is not the service's own: a proxy refused, or the connection failed. */
export class TransportError extends Error {
  /** @param {string} message what came instead */
  constructor(message) {
    super(message);
    this.name = 'TransportError';
  }
}
