/**
 * A scripted environment for `follow`: transports that do what a test wrote down, and a clock that only the test moves.
 * Its transports keep the rules of the interface: they obey the abort signal and read from the position that they are given.
 */
import { countCodePoints } from '../../../static/position.js';

export class Clock {
  time = 0;
  #timers = new Set();

  after(run, ms) {
    const timer = { at: this.time + ms, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Lets pending promises run, then moves to the next timer, until `done`. */
  async run(done, most = 500) {
    for (let i = 0; i < most; i++) {
      for (let turn = 0; turn < 20; turn++) await null;
      if (done()) return;
      const next = [...this.#timers].sort((a, b) => a.at - b.at)[0];
      if (!next) continue;
      this.#timers.delete(next);
      this.time = Math.max(this.time, next.at);
      next.run();
    }
    throw new Error('it did not end');
  }
}

export class ScriptedEnvironment {
  clock = new Clock();
  calls = [];
  /** The transports whose readings are open now. */
  open = [];
  scripts = {};
  isOnline = true;
  #wakers = new Set();
  transports = Object.fromEntries(['sse', 'eventsource', 'websocket', 'text', 'poll'].map((name) => [name, {
    name,
    read: (target, emit, signal) => {
      this.open.push(name);
      return this.#read(name, target, emit, signal).finally(() => this.open.splice(this.open.indexOf(name), 1));
    },
  }]));

  /** Steps for the next readings over a transport: arrays of events, numbers (ms to pass), errors, or 'hang'. */
  enqueue(transport, ...readings) {
    (this.scripts[transport] ??= []).push(...readings);
  }

  now = () => this.clock.time;
  after = (run, ms) => this.clock.after(run, ms);
  random = () => 1;
  online = () => this.isOnline;
  onWake = (wake) => {
    this.#wakers.add(wake);
    return () => this.#wakers.delete(wake);
  };

  wake(why) {
    for (const wake of [...this.#wakers]) wake(why);
  }

  async #read(name, target, emit, signal) {
    this.calls.push({ transport: name, reply: target.reply, after: target.place.position });
    const steps = this.scripts[name]?.shift();
    if (!steps) throw new TypeError('network error');
    const aborted = new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    aborted.catch(() => {});
    for (const step of steps) {
      if (signal.aborted) throw signal.reason;
      if (step === 'hang') await aborted;
      else if (typeof step === 'number') await Promise.race([aborted, new Promise((resolve) => this.clock.after(resolve, step))]);
      else if (step instanceof Error) throw step;
      else if (typeof step === 'function') step();
      else emit(step);
    }
  }
}

export const headers = (reply = 'r') => ({ type: 'headers', reply });
export const alive = (...stamps) => ({ type: 'alive', stamps });
export const text = (all, from, end = [...all].length) => ({ type: 'text', text: [...all].slice(from, end).join(''), position: end });
export const end = (state = 'done', finishReason = null) => ({ type: 'end', state, problem: null, finishReason });
export const part = (offset, part, kind, members = {}, resumed = false) =>
  ({ type: 'unit', unit: { type: 'part', part, kind, members }, offset, resumed });
export const delta = (offset, part, text) => ({ type: 'unit', unit: { type: 'delta', part, text }, offset, resumed: false });
export const close = (offset, part, members = {}) =>
  ({ type: 'unit', unit: { type: 'close', part, members }, offset, resumed: false });
export { countCodePoints };
