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
   * What came since the last frame, by entry.
   *
   * @type {Map<string, Timed[]>}
   */
  #waiting = new Map();
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
   * Hold what is new of a reply until `flush`. It may come many times a frame, and each change copies the list of
   * entries.
   *
   * @param {string} entry
   * @param {Timed} timed
   */
  append(entry, timed) {
    const waiting = this.#waiting.get(entry) ?? [];
    const last = waiting.at(-1);
    const joined = last && join(last.arrival, timed.arrival);
    if (joined) waiting[waiting.length - 1] = { arrival: joined, at: timed.at };
    else waiting.push(timed);
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

  /** Add what waits to the value. */
  flush() {
    for (const [entry, arrivals] of this.#waiting) {
      this.#value = reduce(this.#value, { type: 'grew', entry, arrivals });
    }
    this.#waiting.clear();
  }

  /** Save at once, because the page may be gone in a moment, and take what another tab has saved. */
  save() {
    this.#savePlanned = false;
    this.flush();
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
    this.#environment.after(() => this.#savePlanned && this.save(), 0);
  }
}
