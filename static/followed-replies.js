/**
 * The replies of the conversation that this tab follows, each until it ends or is left.
 *
 * @import { FollowOptions, Progress } from './follow.js'
 * @import { Environment } from './reading.js'
 * @import { TabConversation } from './tab-conversation.js'
 *
 * @typedef {object} FollowedRepliesOptions
 *   What following needs of the chat.
 * @property {URL} base where chatsvc is mounted
 * @property {Environment} environment
 * @property {TabConversation} tab where the replies are looked up
 * @property {() => Pick<FollowOptions, 'transport' | 'auto'>} transport the transport to begin with, asked for
 *   when a following begins
 * @property {(entry: string, progress: Progress) => void} onProgress takes what happens to each reply until it
 *   is left
 */
import { unfinishedFrom } from './rendered-blocks.js';
import { follow } from './follow.js';

/** The set of replies that are followed, by the ids of their entries. */
export class FollowedReplies {
  #options;
  /** @type {Map<string, AbortController>} */
  #aborters = new Map();

  /** @param {FollowedRepliesOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /**
   * Begin to follow a reply, unless it is followed already.
   *
   * @param {string} entry
   */
  start(entry) {
    if (this.#aborters.has(entry)) return;
    const { base, environment, tab, transport, onProgress } = this.#options;
    const aborter = new AbortController();
    const { signal } = aborter;
    this.#aborters.set(entry, aborter);
    // The request waits for the save that was planned before: a page that is loaded again must know what it
    // has asked for, and by which key, or it would start a second reply.
    environment.after(async () => {
      tab.flush();
      const reply = tab.reply(entry);
      if (!reply || signal.aborted) return;
      const start = reply.body === null ? null : { key: reply.key, body: reply.body };
      const { offset, offsetPosition, position } = reply;
      const place = { offset, offsetPosition, position };
      const target = { base, reply: reply.reply, place, rendered: unfinishedFrom(reply.blocks), start };
      const emit = (/** @type {Progress} */ progress) => {
        if (!signal.aborted) onProgress(entry, progress);
      };
      await follow({ target, ...transport() }, environment, emit, signal);
      if (this.#aborters.get(entry) === aborter) this.#aborters.delete(entry);
    }, 0);
  }

  /**
   * Let go of what is open of a reply while something is done, then follow it on, unless it is left meanwhile. It
   * counts as followed until then.
   *
   * @param {string} entry
   * @param {() => Promise<void>} act does it; it never rejects
   * @returns {Promise<void>}
   */
  async pauseWhile(entry, act) {
    this.leave(entry);
    const aborter = new AbortController();
    this.#aborters.set(entry, aborter);
    await act();
    if (this.#aborters.get(entry) !== aborter) return;
    this.#aborters.delete(entry);
    this.start(entry);
  }

  /**
   * Return whether a reply is followed.
   *
   * @param {string} entry
   * @returns {boolean}
   */
  has(entry) {
    return this.#aborters.has(entry);
  }

  /**
   * Leave a reply: nothing more comes of it.
   *
   * @param {string} entry
   */
  leave(entry) {
    this.#aborters.get(entry)?.abort();
    this.#aborters.delete(entry);
  }

  /** Leave all replies. */
  leaveAll() {
    for (const entry of this.#aborters.keys()) this.leave(entry);
  }
}
