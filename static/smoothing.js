/**
 * Text that comes in bursts, handed on evenly. Pure: the time is handed in.
 *
 * A proxy, a radio or a model that writes many characters at once makes text jump. So each burst is spread over
 * `SPREAD_MS` from when it came. What comes alone goes on at once, and nothing waits for longer than that.
 *
 * Invariants:
 * - What comes out is what went in, in the same order: joined, it is the same.
 * - No character (grapheme) is torn, unless it came in two pieces.
 *
 * @import { Timed } from './parts.js'
 */
import { sizeOf, split } from './units.js';

/** The time over which a burst is spread. */
export const SPREAD_MS = 100;
/** What comes within this time of the first piece of a burst belongs to it: half a frame. */
const BURST_MS = 8;

/** What has come and waits for its time. All times are monotonic ms. */
export class Smoothing {
  /** The bursts, and how much of each has not gone on yet. @type {{pieces: Timed[], at: number, size: number, left: number}[]} */
  #bursts = [];

  /** Whether nothing waits. */
  get empty() {
    return this.#bursts.length === 0;
  }

  /**
   * Take what has come. Text that was out before goes on at once, with all before it.
   *
   * @param {Timed} timed
   * @param {number} now
   */
  add(timed, now) {
    const size = sizeOf(timed.arrival);
    if (timed.at === null) for (const burst of this.#bursts) burst.at = -Infinity;
    const at = timed.at === null ? -Infinity : now;
    const last = this.#bursts.at(-1);
    if (last && (last.at === at || now - last.at < BURST_MS)) {
      last.pieces.push(timed);
      last.size += size;
      last.left += size;
    } else {
      this.#bursts.push({ pieces: [timed], at, size, left: size });
    }
  }

  /**
   * Hand on what is due, and at least one piece if anything waits.
   *
   * @param {number} now at `Infinity` everything is due
   * @returns {Timed[]}
   */
  release(now) {
    let due = 0;
    for (const { at, size, left } of this.#bursts) {
      const out = size - left;
      due += Math.max(0, Math.ceil(size * Math.min(1, (now - at) / SPREAD_MS)) - out);
    }
    /** @type {Timed[]} */
    const released = [];
    for (due = Math.max(due, 1); due > 0 && this.#bursts[0]; ) {
      const burst = this.#bursts[0];
      const piece = burst.pieces.shift();
      if (!piece) {
        this.#bursts.shift();
        continue;
      }
      const [head, tail] = split(piece.arrival, due);
      const taken = sizeOf(head);
      due -= taken;
      burst.left -= taken;
      released.push({ ...piece, arrival: head });
      if (tail) burst.pieces.unshift({ ...piece, arrival: tail });
      else if (burst.pieces.length === 0) this.#bursts.shift();
    }
    return released;
  }
}
