/**
 * The meaning of a reply's events. The three transports that carry events (fetch, EventSource,
 * WebSocket) differ only in how they receive them (PROTOCOL.md sections 3 and 4).
 *
 * @import { ProblemDetails } from '../problems.js'
 * @import { Emit } from './transport.js'
 */
import { parseCursor } from '../position.js';
import { parseProblem } from '../problems.js';

/** The interpreter of one reading's events: it emits `text` for each character and one `end`. */
export class EventInterpreter {
  /** Whether the reply's end has been received; events after it are ignored. */
  ended = false;
  #emit;
  /** @type {'done' | 'stopped' | 'failed'} */
  #state = 'done';
  /** @type {ProblemDetails | null} */
  #problem = null;

  /** @param {Emit} emit */
  constructor(emit) {
    this.#emit = emit;
  }

  /**
   * Interpret one event. An event of an unknown name is ignored, and so is text whose id has no position.
   *
   * @param {string} event its name; `message` if it has none
   * @param {string} id the cursor behind it
   * @param {unknown} data a character, `[DONE]`, or the problem of a `stopped` or `failed` event
   */
  receive(event, id, data) {
    if (this.ended) return;
    if (event === 'stopped' || event === 'failed') {
      // It announces how the reply ended; the end itself is the `[DONE]` that follows.
      this.#state = event;
      this.#problem = parseProblem(data);
    } else if (data === '[DONE]') {
      this.ended = true;
      this.#emit({ type: 'end', state: this.#state, problem: this.#problem });
    } else if (event === 'message' && typeof data === 'string') {
      const position = parseCursor(id)?.position;
      if (typeof position === 'number') this.#emit({ type: 'text', text: data, position });
    }
  }
}
