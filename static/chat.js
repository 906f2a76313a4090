/**
 * The chat itself: what a person can do, and what comes of it. It joins the pure parts (conversation, follow, storage) and
 * touches no DOM; what there is to see goes to `draw`, at most once a frame.
 *
 * @import { Action, Conversation, Reply } from './conversation.js'
 * @import { Progress, World } from './follow.js'
 * @import { Keep } from './storage.js'
 * @import { ProblemDetails, TransportName } from './transports/transport.js'
 *
 * @typedef {object} Status what the line below the conversation says
 * @property {TransportName | 'auto'} chosen
 * @property {TransportName} transport in use, or last used
 * @property {number | null} firstMs from asking to the first character
 * @property {number | null} rate characters a second
 * @property {{until: number, problem: ProblemDetails | null} | null} waiting until a `world.now()`
 * @property {boolean} online
 *
 * @typedef {'started' | 'done' | 'stopped' | 'failed' | 'lost'} Said what a screen reader is told
 *
 * @typedef {object} Parts
 * @property {URL} base
 * @property {Keep} keep
 * @property {World} world
 * @property {(run: () => void) => void} frame runs before the next picture, or soon if there is none
 * @property {(conversation: Conversation, status: Status) => void} draw
 * @property {(said: Said) => void} say
 * @property {{message: number, body: number}} limits bytes
 * @property {() => boolean} visible
 */
import { first, VERDICT_MS } from './auto.js';
import { isFinal, reduce, replies, requestBody, running } from './conversation.js';
import { follow } from './follow.js';
import { codePoints } from './position.js';
import { fresh, newId } from './storage.js';
import { snapshot } from './transports/poll.js';

/** At most so often is a growing reply written to storage. */
const SAVE_MS = 2000;
/** For so long must characters come before it is told how fast they do. */
const RATE_SECONDS = 0.2;

export class Chat {
  #parts;
  /** @type {Conversation} */
  #conversation;
  /** @type {Map<string, AbortController>} */
  #following = new Map();
  /** @type {Map<string, {text: string, to: number}>} text that waits for the next frame */
  #pending = new Map();
  #framed = false;
  #unkept = false;
  #saved = -Infinity;
  /** @type {Status} */
  #status;
  #sentAt = 0;
  /** @type {{at: number, count: number} | null} when the first piece came, and how many characters it had */
  #first = null;
  #count = 0;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    this.#conversation = parts.keep.conversation() ?? fresh();
    const chosen = parts.keep.transport;
    this.#status = {
      chosen, transport: this.#begin(chosen), firstMs: null, rate: null, waiting: null, online: parts.world.online(),
    };
    parts.world.onWake(() => {
      this.#set({ online: parts.world.online() });
      // A page that lay in the browser's cache was told nothing.
      this.sync();
      this.#goOn(true);
    });
    this.#goOn(false);
    this.#refresh();
  }

  get conversation() {
    return this.#conversation;
  }

  /**
   * Sends a message and follows its reply; nothing while another reply runs, or if there is nothing but white space.
   *
   * @param {string} written
   * @returns {'sent' | 'busy' | 'empty' | 'too-long'}
   */
  send(written) {
    if (running(this.#conversation)) return 'busy';
    if (!written.trim()) return 'empty';
    const { message: limit, body: maxBody } = this.#parts.limits;
    const bytes = new TextEncoder().encode(written);
    if (bytes.length > limit) return 'too-long';
    // Half a surrogate pair is no character, and the service would refuse it with every message to come.
    const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
    /** @type {import('./conversation.js').Message} */
    const message = { role: 'user', id: newId(), text };
    const body = requestBody([...this.#conversation.entries, message], maxBody);
    const entry = newId();
    this.#do({ type: 'asked', message, entry, key: newId(), body });
    this.#follow(entry);
    return 'sent';
  }

  /** Shows a reply that a link names, following it if it still runs. @param {string} reply */
  link(reply) {
    if (replies(this.#conversation).some((entry) => entry.reply === reply)) return;
    const entry = newId();
    this.#do({ type: 'linked', entry, reply });
    this.#follow(entry);
  }

  /** Asks once more for a reply that ended. @param {string} entry */
  retry(entry) {
    if (running(this.#conversation)) return;
    const entries = this.#conversation.entries;
    const before = entries.slice(0, entries.findIndex(({ id }) => id === entry));
    this.#do({ type: 'retried', entry, key: newId(), body: requestBody(before, this.#parts.limits.body) });
    this.#follow(entry);
  }

  /** Goes on with a reply that was given up. @param {string} entry */
  resume(entry) {
    this.#do({ type: 'resumed', entry });
    this.#follow(entry);
  }

  /** Stops the running reply at the service, however little of it is there. */
  stop() {
    const reply = running(this.#conversation);
    if (!reply || reply.stopping) return;
    this.#do({ type: 'stopping', entry: reply.id });
    if (reply.reply) this.#askToStop(reply.reply);
    // Nothing comes any more; the service stops by itself what nobody reads.
    if (this.#status.waiting) this.#end(reply.id, 'stopped', null);
    else if (!reply.reply) this.#askForName(reply);
  }

  /** Keeps what the service rendered of a reply, which it won't do for ever. @param {string} entry @param {string} html */
  keepHTML(entry, html) {
    this.#do({ type: 'rendered', entry, html });
  }

  clear() {
    this.stop();
    this.#leaveAll();
    this.#pending.clear();
    this.#set({ firstMs: null, rate: null, waiting: null });
    this.#do({ type: 'cleared', id: newId() });
    this.save();
  }

  /** Takes another transport at once, in mid-reply too. @param {TransportName | 'auto'} chosen */
  use(chosen) {
    this.#parts.keep.transport = chosen;
    this.#set({ chosen, transport: this.#begin(chosen) });
    const reply = running(this.#conversation);
    if (!reply) return;
    this.#leave(reply.id);
    this.#follow(reply.id, false);
  }

  /** Another tab has written. */
  sync() {
    const kept = this.#parts.keep.conversation();
    if (!kept) return;
    this.#flush();
    this.#take(reduce(this.#conversation, { type: 'synced', conversation: kept }));
    // It was cleared here: that tab had not yet been told.
    if (kept.id !== this.#conversation.id) this.save();
    this.#goOn(false);
  }

  /** Writes what is not yet kept: the page may be gone in a moment. */
  save() {
    this.#unkept = false;
    this.#flush();
    this.#take(this.#parts.keep.save(this.#conversation));
    this.#saved = this.#parts.world.now();
  }

  /** Takes what another tab knows too. @param {Conversation} conversation */
  #take(conversation) {
    if (conversation === this.#conversation) return;
    if (conversation.id !== this.#conversation.id) this.#leaveAll();
    this.#conversation = conversation;
    for (const { id, state } of replies(conversation)) {
      if (!isFinal(state)) continue;
      // The other tab was told first.
      if (this.#following.has(id)) this.#parts.say(state);
      this.#leave(id);
    }
    this.#refresh();
  }

  /**
   * Follows whatever runs and is not followed. A tab in the background does so only with replies of its own: six of
   * them must not take all the connections that a browser has for one host.
   *
   * @param {boolean} lost whether to try those again that were given up
   */
  #goOn(lost) {
    if (!this.#parts.visible()) return;
    const last = this.#conversation.entries.at(-1);
    for (const reply of replies(this.#conversation)) {
      // A message that nobody answered, and that was followed by another, is not sent behind the reader's back.
      if (lost && reply.state === 'lost' && (reply.reply || reply === last)) this.resume(reply.id);
      else if (reply.state === 'running' && !this.#following.has(reply.id)) this.#follow(reply.id);
    }
  }

  /** @param {string} entry @param {boolean} [anew] whether the clock starts now */
  #follow(entry, anew = true) {
    if (this.#following.has(entry)) return;
    const { world, base } = this.#parts;
    const aborter = new AbortController();
    this.#following.set(entry, aborter);
    if (anew) {
      this.#sentAt = world.now();
      this.#first = null;
      this.#count = 0;
      this.#set({ firstMs: null, rate: null, waiting: null });
    }
    // Not before it is kept: a page that is loaded again must know what it has asked for, and by which key.
    world.after(async () => {
      this.#flush();
      const reply = this.#reply(entry);
      if (!reply || aborter.signal.aborted) return;
      const start = reply.body === null ? null : { key: reply.key, body: reply.body };
      const target = { base, reply: reply.reply, after: reply.position, start };
      const { chosen } = this.#status;
      const order = { target, transport: this.#begin(chosen), auto: chosen === 'auto' };
      await follow(order, world, (progress) => this.#progress(entry, progress, aborter.signal), aborter.signal);
      if (this.#following.get(entry) === aborter) this.#following.delete(entry);
    }, 0);
  }

  /** @param {string} entry */
  #leave(entry) {
    this.#following.get(entry)?.abort();
    this.#following.delete(entry);
  }

  #leaveAll() {
    for (const entry of this.#following.keys()) this.#leave(entry);
  }

  /** @param {string} entry @param {Progress} progress @param {AbortSignal} signal */
  #progress(entry, progress, signal) {
    if (signal.aborted) return;
    const { world, keep } = this.#parts;
    switch (progress.type) {
      case 'using':
        this.#set({ transport: progress.transport, waiting: null });
        return;
      case 'started':
        this.#do({ type: 'started', entry, reply: progress.reply });
        if (this.#reply(entry)?.stopping) this.#askToStop(progress.reply);
        else this.#parts.say('started');
        return;
      case 'text': {
        const waiting = this.#pending.get(entry)?.text ?? '';
        this.#pending.set(entry, { text: waiting + progress.text, to: progress.to });
        this.#measure(progress.text);
        // The browser may know of no network, and the service be on this machine.
        if (!this.#status.online) this.#set({ online: true });
        this.#refresh();
        return;
      }
      case 'left':
        this.#do({ type: 'switched', entry, from: progress.from, to: progress.to, reason: progress.reason });
        return;
      case 'works':
        keep.verdict = { transport: progress.transport, reason: progress.reason, until: Date.now() + VERDICT_MS };
        return;
      case 'waiting':
        this.#set({ waiting: { until: world.now() + progress.ms, problem: progress.problem }, online: world.online() });
        if (this.#reply(entry)?.stopping) this.#end(entry, 'stopped', null);
        return;
      case 'end':
        this.#end(entry, progress.state, progress.problem);
        return;
      case 'refused':
        this.#end(entry, 'failed', progress.problem);
        return;
      case 'gave-up':
        this.#set({ waiting: null });
        this.#do({ type: 'lost', entry, problem: progress.problem });
        this.#parts.say(progress.problem ? 'failed' : 'lost');
    }
  }

  /** @param {string} entry @param {'done' | 'stopped' | 'failed'} state @param {ProblemDetails | null} problem */
  #end(entry, state, problem) {
    // One that was over sooner than a rate can be told has come as fast as it was there.
    const seconds = (this.#parts.world.now() - this.#sentAt) / 1000;
    const rate = this.#status.rate ?? (this.#count && seconds ? this.#count / seconds : null);
    this.#set({ waiting: null, rate });
    this.#do({ type: 'ended', entry, state, problem });
    this.#leave(entry);
    this.#parts.say(state);
  }

  /**
   * Over a socket a reply has no name before its first character; who asks again with the same key is told at once.
   *
   * @param {Reply} reply
   */
  async #askForName({ id, key, body }) {
    const signal = this.#following.get(id)?.signal;
    if (!signal || body === null) return;
    const target = { base: this.#parts.base, reply: null, after: 0, start: { key, body } };
    try {
      await snapshot(target, (sight) => {
        if (sight.type === 'headers' && sight.reply) this.#progress(id, { type: 'started', reply: sight.reply }, signal);
      }, signal, 0);
    } catch {
      // Then its first character tells.
    }
  }

  /** @param {string} reply */
  async #askToStop(reply) {
    const url = new URL(`api/chat/${reply}/stop`, this.#parts.base);
    const answer = await fetch(url, { method: 'POST', keepalive: true }).catch(() => null);
    if (answer && answer.status < 500) return;
    // Not reached.
    this.#parts.world.after(() => {
      if (running(this.#conversation)?.reply === reply) this.#askToStop(reply);
    }, 1000);
  }

  /** @param {string} text */
  #measure(text) {
    const now = this.#parts.world.now();
    const count = codePoints(text);
    this.#count += count;
    if (!this.#first) {
      this.#first = { at: now, count };
      this.#set({ firstMs: now - this.#sentAt });
    }
    const seconds = (now - this.#first.at) / 1000;
    if (seconds > RATE_SECONDS) this.#set({ rate: (this.#count - this.#first.count) / seconds });
  }

  /** @param {TransportName | 'auto'} chosen @returns {TransportName} */
  #begin(chosen) {
    return chosen === 'auto' ? first(this.#parts.keep.verdict, Date.now()) : chosen;
  }

  /** @param {string} entry @returns {Reply | null} */
  #reply(entry) {
    return replies(this.#conversation).find(({ id }) => id === entry) ?? null;
  }

  /** @param {Action} action */
  #do(action) {
    this.#flush();
    this.#conversation = reduce(this.#conversation, action);
    this.#saveSoon();
    this.#refresh();
  }

  /** Saves in a task of its own: a long conversation takes a while, and what happened is to be seen at once. */
  #saveSoon() {
    if (this.#unkept) return;
    this.#unkept = true;
    this.#parts.world.after(() => this.#unkept && this.save(), 0);
  }

  /** @param {Partial<Status>} change */
  #set(change) {
    this.#status = { ...this.#status, ...change };
    this.#refresh();
  }

  #flush() {
    for (const [entry, { text, to }] of this.#pending) {
      this.#conversation = reduce(this.#conversation, { type: 'grew', entry, text, to });
    }
    this.#pending.clear();
  }

  #refresh() {
    if (this.#framed) return;
    this.#framed = true;
    this.#parts.frame(() => {
      this.#framed = false;
      this.#flush();
      if (running(this.#conversation) && this.#parts.world.now() - this.#saved > SAVE_MS) this.#saveSoon();
      this.#parts.draw(this.#conversation, this.#status);
    });
  }
}
