/**
 * What the events of a reply mean. The three transports that carry events (fetch, EventSource, WebSocket) differ only
 * in how they get them (PROTOCOL.md sections 3 and 4).
 *
 * @import { Sight } from './transport.js'
 */
import { parseCursor } from '../position.js';
import { asProblem } from './transport.js';

export class ReplyEvents {
  /** @type {'done' | 'stopped' | 'failed'} */
  #state = 'done';
  /** @type {import('./transport.js').ProblemDetails | null} */
  #problem = null;
  ended = false;

  /** @param {(sight: Sight) => void} see */
  constructor(see) {
    this.see = see;
  }

  /**
   * @param {string} event
   * @param {string} id
   * @param {unknown} data
   */
  take(event, id, data) {
    if (this.ended) return;
    if (event === 'stopped' || event === 'failed') {
      this.#state = event;
      this.#problem = asProblem(data);
    } else if (data === '[DONE]') {
      this.ended = true;
      this.see({ type: 'end', state: this.#state, problem: this.#problem });
    } else if (event === 'message' && typeof data === 'string') {
      const to = parseCursor(id)?.position;
      if (typeof to === 'number') this.see({ type: 'text', text: data, to });
    }
  }
}
