/** The speed of a reply as its reader experiences it. Pure: the time is handed in. */
import { countCodePoints } from './position.js';

/** A rate measured over less time than this says more about chance than about the reply. */
const MIN_RATE_S = 0.2;

/** The measurement of one reply's speed, from the moment at which it was asked for. */
export class Speed {
  /** Milliseconds from the request to the first text; null before it. @type {number | null} */
  firstMs = null;
  /** Code points a second since the first text; null until enough time has passed. @type {number | null} */
  rate = null;
  #askedAt;
  /** When the first text came (ms), and its number of code points. @type {{at: number, count: number} | null} */
  #first = null;
  #count = 0;

  /** @param {number} now monotonic milliseconds, as in all methods */
  constructor(now) {
    this.#askedAt = now;
  }

  /**
   * Count a piece of text that has just come.
   *
   * @param {string} text
   * @param {number} now
   */
  add(text, now) {
    const count = countCodePoints(text);
    this.#count += count;
    if (!this.#first) {
      this.#first = { at: now, count };
      this.firstMs = now - this.#askedAt;
    }
    // The first piece is left out: it is the text that was there already when reading began.
    const seconds = (now - this.#first.at) / 1000;
    if (seconds > MIN_RATE_S) this.rate = (this.#count - this.#first.count) / seconds;
  }

  /**
   * End the measurement. A reply too short to be measured since its first text gets its rate since the
   * request.
   *
   * @param {number} now
   */
  finish(now) {
    const seconds = (now - this.#askedAt) / 1000;
    if (this.#count && seconds) this.rate ??= this.#count / seconds;
  }
}
