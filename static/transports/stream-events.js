/**
 * The meaning of a reply's events. The transports that carry events (fetch, EventSource, WebSocket, and the
 * long poll) differ only in how they receive them (PROTOCOL.md sections 3 and 4).
 *
 * @import { ProblemDetails } from '../problems.js'
 * @import { Unit } from '../units.js'
 * @import { Emit } from './transport.js'
 */
import { BlockDecoder } from '../rendered-blocks.js';
import { parseCursor } from '../position.js';
import { parseProblem } from '../problems.js';

/** The interpreter of one reading's events: an arrival for each unit, character or rendered block, and one `end`. */
export class EventInterpreter {
  /** Whether the reply's end has been received; events after it are ignored. */
  ended = false;
  #emit;
  #blocks = new BlockDecoder();
  /** @type {'done' | 'stopped' | 'failed'} */
  #state = 'done';
  /** @type {ProblemDetails | null} */
  #problem = null;
  /** @type {string | null} */
  #finishReason = null;

  /** @param {Emit} emit */
  constructor(emit) {
    this.#emit = emit;
  }

  /**
   * Interpret one event. An event of an unknown name is ignored, and so is one whose id says no place. Data that is no
   * JSON object is a character: a node of an older version knows no parts.
   *
   * @param {string} event its name; `message` if it has none
   * @param {string} id the cursor behind it
   * @param {unknown} data an object of the parts view or its JSON, a character, `[DONE]`, or the problem of a `stopped`
   *   or `failed` event
   */
  receive(event, id, data) {
    if (this.ended) return;
    if (event === 'stopped' || event === 'failed') {
      // It announces how the reply ended; the end itself is the `[DONE]` that follows.
      this.#state = event;
      this.#problem = parseProblem(data);
    } else if (data === '[DONE]') {
      this.ended = true;
      this.#emit({ type: 'end', state: this.#state, problem: this.#problem, finishReason: this.#finishReason });
    } else if (event === 'message') {
      const { position = null, offset = null } = parseCursor(id) ?? {};
      const object = parseObject(data);
      if (object?.['type'] === 'end') this.#receiveEnd(object);
      else if (object?.['type'] === 'block') {
        const block = this.#blocks.decode(object);
        if (block) this.#emit({ type: 'block', block });
      } else if (object && offset !== null) {
        this.#emit({ type: 'unit', unit: parseUnit(object), offset, resumed: object['resumed'] === true });
      } else if (typeof data === 'string' && position !== null) this.#emit({ type: 'text', text: data, position });
    }
  }

  /** @param {Record<string, unknown>} end the object of the event before `[DONE]` */
  #receiveEnd({ state, problem, finish_reason }) {
    if (state === 'stopped' || state === 'failed') this.#state = state;
    this.#problem = parseProblem(problem);
    if (typeof finish_reason === 'string') this.#finishReason = finish_reason;
  }
}

/**
 * @param {unknown} data an object, or text that may be one's JSON
 * @returns {Record<string, unknown> | null} null if it is neither
 */
function parseObject(data) {
  let value = data;
  if (typeof data === 'string') {
    if (!data.startsWith('{')) return null;
    try {
      value = JSON.parse(data);
    } catch {
      return null;
    }
  }
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject ? /** @type {Record<string, unknown>} */ (value) : null;
}

/**
 * @param {Record<string, unknown>} data the object of an event of the parts view
 * @returns {Unit} one of type `unknown` if it can't be read
 */
function parseUnit({ type, part, kind, text, resumed, ...members }) {
  if (typeof part !== 'number') return { type: 'unknown' };
  if (type === 'part' && typeof kind === 'string') return { type, part, kind, members };
  if (type === 'delta' && typeof text === 'string') return { type, part, text };
  return type === 'close' ? { type, part, members } : { type: 'unknown' };
}
