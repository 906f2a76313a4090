/**
 * What the line below the conversation says, and how it changes. Pure: the time is handed in.
 *
 * @import { ProblemDetails } from './problems.js'
 * @import { TransportName } from './transports/transport.js'
 *
 * @typedef {object} Status
 *   What the line says.
 * @property {TransportName | 'auto'} chosen the reader's choice
 * @property {TransportName} transport the one in use, or used last
 * @property {number | null} firstMs from the request to the first text, for the last reply
 * @property {number | null} rate characters a second, for the last reply
 * @property {{until: number, problem: ProblemDetails | null} | null} waiting the pause before the next attempt:
 *   until when (as `Environment.now()` counts), and the problem that the service named
 * @property {boolean} online whether there is a network, as far as is known
 * @property {number | null} heardAt when something of the running reply came last, or else when it was asked for
 *   (monotonic ms); null if none runs
 */
import { Speed } from './speed.js';

/** The status of a page, with the measurement of its last reply. All times are monotonic ms. */
export class CurrentStatus {
  /** What the line says now. @type {Status} */
  value;
  #speed;

  /**
   * @param {Pick<Status, 'chosen' | 'transport' | 'online'>} initial
   * @param {number} now
   */
  constructor(initial, now) {
    this.value = { ...initial, firstMs: null, rate: null, waiting: null, heardAt: null };
    this.#speed = new Speed(now);
  }

  /**
   * Change some of it.
   *
   * @param {Partial<Status>} change
   */
  set(change) {
    this.value = { ...this.value, ...change };
  }

  /**
   * Begin with a reply, which is asked for now.
   *
   * @param {number} now
   */
  begin(now) {
    this.#speed = new Speed(now);
    this.set({ firstMs: null, rate: null, waiting: null, heardAt: now });
  }

  /**
   * Count what has come of the reply.
   *
   * @param {string} text new text of the answer; empty if something else came
   * @param {number} now
   */
  add(text, now) {
    if (text) this.#speed.add(text, now);
    // What comes shows that the service is reached although the browser may know of no network.
    this.set({ firstMs: this.#speed.firstMs, rate: this.#speed.rate, online: true, heardAt: now });
  }

  /**
   * End the measurement of the reply.
   *
   * @param {number} now
   */
  finish(now) {
    this.#speed.finish(now);
    this.set({ waiting: null, rate: this.#speed.rate, heardAt: null });
  }
}
