/**
 * The conversation as this tab has it: its current value, what waits for the next frame, and its
 * exchange with the browser's storage, through which other tabs have it too.
 *
 * @import { Conversation, ConversationEvent, Reply } from './conversation.js'
 * @import { Environment } from './reading.js'
 * @import { Timed } from './parts.js'
 * @import { Persistence } from './storage.js'
 *
 * @typedef {object} TabListener
 *   The callbacks that a change calls.
 * @property {() => void} changed something may have to be drawn
 * @property {(before: Conversation) => void} taken another tab's copy was merged, or has replaced this value
 */
import { reduce, repliesOf, runningReply } from './conversation.js';
import { Smoothing } from './smoothing.js';
import { newConversation } from './storage.js';
import { join } from './units.js';

/** The least time between two saves of a growing reply: each writes the whole conversation, synchronously. */
const SAVE_INTERVAL_MS = 2000;

/** The current conversation of one tab, saved and kept in step with other tabs. */
export class TabConversation {
  #persistence;
  #environment;
  #listener;
  #value;
  /**
   * What has come and was not drawn yet, by entry.
   *
   * @type {Map<string, Smoothing>}
   */
  #waiting = new Map();
  /** What is to be done when nothing of a reply waits any more, by entry. @type {Map<string, () => void>} */
  #afterText = new Map();
  #savePlanned = false;
  #savedAt = -Infinity;

  /**
   * @param {Persistence} persistence
   * @param {Environment} environment
   * @param {TabListener} listener
   */
  constructor(persistence, environment, listener) {
    this.#persistence = persistence;
    this.#environment = environment;
    this.#listener = listener;
    this.#value = persistence.load() ?? newConversation();
  }

  /** The conversation, without what waits for the next frame. */
  get value() {
    return this.#value;
  }

  /**
   * Return the reply of an entry.
   *
   * @param {string} entry
   * @returns {Reply | null} null if there is none
   */
  reply(entry) {
    return repliesOf(this.#value).find(({ id }) => id === entry) ?? null;
  }

  /**
   * Apply an event, and save soon.
   *
   * @param {ConversationEvent} event
   */
  apply(event) {
    this.flush();
    this.#value = reduce(this.#value, event);
    this.#saveSoon();
    this.#listener.changed();
  }

  /**
   * Hold what is new of a reply until `release`. It may come many times a frame, and each change copies the list of
   * entries.
   *
   * @param {string} entry
   * @param {Timed} timed
   */
  append(entry, timed) {
    const waiting = this.#waiting.get(entry) ?? new Smoothing();
    waiting.add(timed, this.#environment.now());
    this.#waiting.set(entry, waiting);
    this.#listener.changed();
  }

  /**
   * Return whether anything of a reply has come.
   *
   * @param {string} entry
   * @returns {boolean}
   */
  hasAny(entry) {
    const { position = 0, offset = 0 } = this.reply(entry) ?? {};
    return this.#waiting.has(entry) || position > 0 || offset > 0;
  }

  /**
   * Do something when nothing of a reply waits any more, which may be now.
   *
   * @param {string} entry
   * @param {() => void} run
   */
  afterText(entry, run) {
    if (this.#waiting.has(entry)) this.#afterText.set(entry, run);
    else run();
  }

  /** Add what is due by now to the value. If that is not all, the rest is a change of the next frame. */
  release() {
    this.#release(this.#environment.now());
    if (this.#waiting.size > 0) this.#listener.changed();
  }

  /** Add all that waits to the value. */
  flush() {
    this.#release(Infinity);
  }

  /** @param {number} now */
  #release(now) {
    for (const [entry, waiting] of this.#waiting) {
      const arrivals = joined(waiting.release(now));
      this.#value = reduce(this.#value, { type: 'grew', entry, arrivals });
      if (!waiting.empty) continue;
      this.#waiting.delete(entry);
      const run = this.#afterText.get(entry);
      this.#afterText.delete(entry);
      run?.();
    }
  }

  /** Save at once, because the page may be gone in a moment, and take what another tab has saved. */
  save() {
    this.flush();
    this.#store();
  }

  #store() {
    this.#savePlanned = false;
    this.#take(this.#persistence.save(this.#value));
    this.#savedAt = this.#environment.now();
  }

  /** Save soon if a reply grows and the last save is `SAVE_INTERVAL_MS` ago. */
  saveIfDue() {
    const due = this.#environment.now() - this.#savedAt > SAVE_INTERVAL_MS;
    if (runningReply(this.#value) && due) this.#saveSoon();
  }

  /** Take what another tab has saved. */
  sync() {
    const stored = this.#persistence.load();
    if (!stored) return;
    this.flush();
    this.#take(reduce(this.#value, { type: 'synced', conversation: stored }));
    // This tab has cleared the conversation that the other one saved; the cleared one must be stored in its stead.
    if (stored.id !== this.#value.id) this.save();
  }

  /** @param {Conversation} conversation */
  #take(conversation) {
    if (conversation === this.#value) return;
    const before = this.#value;
    this.#value = conversation;
    this.#listener.taken(before);
  }

  /** Save in a task of its own: with a long conversation it takes a while, and drawing must not wait for it. */
  #saveSoon() {
    if (this.#savePlanned) return;
    this.#savePlanned = true;
    this.#environment.after(() => this.#savePlanned && this.#store(), 0);
  }
}

/** Return arrivals with those joined that can be. @param {Timed[]} timed @returns {Timed[]} */
function joined(timed) {
  /** @type {Timed[]} */
  const all = [];
  for (const { arrival, at } of timed) {
    const last = all.at(-1);
    const both = last && join(last.arrival, arrival);
    if (both) all[all.length - 1] = { arrival: both, at };
    else all.push({ arrival, at });
  }
  return all;
}
