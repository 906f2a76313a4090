/**
 * What a person can do in the chat, and what comes of it. It joins the conversation, the following of replies
 * and the storage, and touches no DOM: `draw` gets the values to show, at most once a frame.
 *
 * @import { Conversation, Message, Reply } from './conversation.js'
 * @import { Status } from './current-status.js'
 * @import { Progress } from './follow.js'
 * @import { Environment } from './reading.js'
 * @import { Persistence } from './storage.js'
 * @import { End, TransportName } from './transports/transport.js'
 *
 * @typedef {'started' | 'done' | 'length' | 'content_filter' | 'empty' | 'stopped' | 'failed' | 'lost'
 *   | 'unauthorized'} Announcement
 *   What a screen reader says of a reply: that it has started, or how it ended or was given up. Of one that is done:
 *   that it is complete, was cut by its length or a filter, or has no text.
 *
 * @typedef {'sent' | 'busy' | 'empty' | 'too-long'} SendOutcome
 *   What came of sending a message. `busy`: another reply runs; `empty`: it is nothing but white space;
 *   `too-long`: the service would refuse it.
 *
 * @typedef {object} Dependencies
 *   What the chat needs of the page.
 * @property {URL} base where chatsvc is mounted, ending in a slash
 * @property {Persistence} persistence
 * @property {Environment} environment
 * @property {(run: () => void) => void} requestFrame runs something before the next frame is drawn, or soon if
 *   the page is hidden
 * @property {(conversation: Conversation, status: Status) => void} draw shows these values
 * @property {(announcement: Announcement, reply: Reply | null) => void} announce has a screen reader say this of a
 *   reply
 * @property {{message: number, body: number}} limits the bytes of UTF-8 that a message and a request may have
 * @property {() => boolean} isVisible whether the page is looked at
 */
import { initialTransport, verdictOn } from './auto.js';
import { isFinal, repliesOf, requestBody, runningReply } from './conversation.js';
import { CurrentStatus } from './current-status.js';
import { completeness } from './ending.js';
import { FollowedReplies } from './followed-replies.js';
import { codeOf } from './problems.js';
import { stopReply } from './stop.js';
import { newId } from './storage.js';
import { TabConversation } from './tab-conversation.js';

/** The end of a reply that is stopped here, whatever the service says of it. @type {End} */
const STOPPED_HERE = { type: 'end', state: 'stopped', problem: null, finishReason: null };

/** The chat of one page. As soon as it is made, it follows the replies that were running when the page was left. */
export class Chat {
  #dependencies;
  #tab;
  #followed;
  #frameRequested = false;
  #status;

  /** @param {Dependencies} dependencies */
  constructor(dependencies) {
    this.#dependencies = dependencies;
    const { environment, persistence } = dependencies;
    this.#tab = new TabConversation(persistence, environment, {
      changed: () => this.#refresh(),
      taken: (before) => this.#taken(before),
    });
    this.#followed = new FollowedReplies({
      base: dependencies.base,
      environment,
      tab: this.#tab,
      transport: () => {
        const { chosen } = this.#status.value;
        return { transport: this.#resolve(chosen), auto: chosen === 'auto' };
      },
      onProgress: (entry, progress) => this.#progress(entry, progress),
    });
    const chosen = persistence.transport;
    const initial = { chosen, transport: this.#resolve(chosen), online: environment.online() };
    this.#status = new CurrentStatus(initial, environment.now());
    environment.onWake((why) => {
      // It may be another network, of which Auto knows nothing.
      if (why === 'online') persistence.verdict = null;
      this.#setStatus({ online: environment.online() });
      // A page in the browser's back/forward cache gets no storage events.
      this.sync();
      this.#followRunning(true);
    });
    this.#followRunning(false);
    this.#refresh();
  }

  /** The conversation as it is now, without what is not drawn yet. */
  get conversation() {
    return this.#tab.value;
  }

  /**
   * Send a message and follow its reply. Nothing happens unless the outcome is `sent`.
   *
   * @param {string} written what stands in the composer
   * @returns {SendOutcome}
   */
  send(written) {
    if (runningReply(this.conversation)) return 'busy';
    if (!written.trim()) return 'empty';
    const { message: maxMessage, body: maxBody } = this.#dependencies.limits;
    const bytes = new TextEncoder().encode(written);
    if (bytes.length > maxMessage) return 'too-long';
    // The encoder has replaced lone surrogates, which the service would refuse now and, as part of the
    // conversation, with every later message.
    const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
    /** @type {Message} */
    const message = { role: 'user', id: newId(), text };
    const body = requestBody([...this.conversation.entries, message], maxBody);
    const entry = newId();
    this.#tab.apply({ type: 'asked', message, entry, key: newId(), body });
    this.#follow(entry);
    return 'sent';
  }

  /**
   * Show a reply that a link names, and follow it if it still runs.
   *
   * @param {string} reply the reply's id
   */
  openLink(reply) {
    if (repliesOf(this.conversation).some((entry) => entry.reply === reply)) return;
    const entry = newId();
    this.#tab.apply({ type: 'linked', entry, reply });
    this.#follow(entry);
  }

  /**
   * Ask anew for a reply that has ended. Nothing happens while another one runs.
   *
   * @param {string} entry
   */
  retry(entry) {
    if (runningReply(this.conversation)) return;
    const entries = this.conversation.entries;
    const before = entries.slice(0, entries.findIndex(({ id }) => id === entry));
    const body = requestBody(before, this.#dependencies.limits.body);
    this.#tab.apply({ type: 'retried', entry, key: newId(), body });
    this.#follow(entry);
  }

  /**
   * Read on in a reply that was given up.
   *
   * @param {string} entry
   */
  resume(entry) {
    this.#tab.apply({ type: 'resumed', entry });
    this.#follow(entry);
  }

  /** Stop the running reply, here and at the service, however little of it is known. */
  stop() {
    const reply = runningReply(this.conversation);
    if (!reply || reply.stopping) return;
    this.#tab.apply({ type: 'stopping', entry: reply.id });
    // While the connection is broken no end can come. The service stops a reply without readers by itself.
    const broken = this.#status.value.waiting;
    if (reply.reply || !broken) this.#stopAtService(reply);
    if (broken) this.#end(reply.id, STOPPED_HERE);
  }

  /**
   * Keep a reply's HTML with the conversation: the service forgets replies after a while.
   *
   * @param {string} entry
   * @param {string} html
   */
  keepHTML(entry, html) {
    this.#tab.apply({ type: 'rendered', entry, html });
  }

  /** Begin a new conversation, in all tabs. The running reply is stopped. */
  clear() {
    this.stop();
    this.#followed.leaveAll();
    this.#setStatus({ firstMs: null, rate: null, waiting: null });
    this.#tab.apply({ type: 'cleared', id: newId() });
    this.save();
  }

  /**
   * Choose a transport. A running reply is read on over it at once.
   *
   * @param {TransportName | 'auto'} chosen
   */
  chooseTransport(chosen) {
    this.#dependencies.persistence.transport = chosen;
    this.#setStatus({ chosen, transport: this.#resolve(chosen) });
    const reply = runningReply(this.conversation);
    if (!reply) return;
    this.#followed.leave(reply.id);
    this.#followed.start(reply.id);
  }

  /** Take what another tab has saved, and follow what it has started. */
  sync() {
    this.#tab.sync();
    this.#followRunning(false);
  }

  /** Save the conversation at once: the page may be gone in a moment. */
  save() {
    this.#tab.save();
  }

  /** Leave the replies whose end another tab had first. @param {Conversation} before the value before the merge */
  #taken(before) {
    if (before.id !== this.conversation.id) this.#followed.leaveAll();
    for (const { id, state } of repliesOf(this.conversation)) {
      if (!isFinal(state)) continue;
      if (this.#followed.has(id)) this.#announceEnd(id);
      this.#followed.leave(id);
    }
    this.#refresh();
  }

  /**
   * Follow each running reply that is not followed yet. A hidden tab does this only for replies that it has
   * asked for itself: a browser has six connections for one host, which all its tabs share.
   *
   * @param {boolean} retryLost whether replies that were given up are followed again
   */
  #followRunning(retryLost) {
    if (!this.#dependencies.isVisible()) return;
    const last = this.conversation.entries.at(-1);
    for (const reply of repliesOf(this.conversation)) {
      // A message that the service never had is not sent now if the user has gone on to another one.
      if (retryLost && reply.state === 'lost' && (reply.reply || reply === last)) this.resume(reply.id);
      else if (reply.state === 'running' && !this.#followed.has(reply.id)) this.#follow(reply.id);
    }
  }

  /** Begin to follow a reply, and to measure its speed. @param {string} entry */
  #follow(entry) {
    if (this.#followed.has(entry)) return;
    this.#status.begin(this.#dependencies.environment.now());
    this.#refresh();
    this.#followed.start(entry);
  }

  /** @param {string} entry @param {Progress} progress */
  #progress(entry, progress) {
    const { environment, persistence, announce } = this.#dependencies;
    switch (progress.type) {
      case 'using':
        return this.#setStatus({ transport: progress.transport, waiting: null });
      case 'started': {
        this.#tab.apply({ type: 'started', entry, reply: progress.reply });
        const reply = this.#tab.reply(entry);
        if (reply?.stopping) this.#stopAtService(reply);
        return;
      }
      case 'grew':
        if (!this.#tab.hasAny(entry) && !this.#tab.reply(entry)?.stopping) announce('started', this.#tab.reply(entry));
        this.#tab.append(entry, { arrival: progress.arrival, at: progress.live ? Date.now() : null });
        this.#status.add(progress.text, environment.now());
        return this.#refresh();
      case 'left':
        return this.#tab.apply({ ...progress, type: 'switched', entry });
      case 'works':
        persistence.verdict = verdictOn(progress.transport, progress.reason, Date.now());
        return;
      case 'waiting': {
        const waiting = { until: environment.now() + progress.ms, problem: progress.problem };
        this.#setStatus({ waiting, online: environment.online() });
        if (this.#tab.reply(entry)?.stopping) this.#end(entry, STOPPED_HERE);
        return;
      }
      case 'end':
        return this.#tab.afterText(entry, () => this.#end(entry, progress, progress.live));
      case 'refused':
        return this.#end(entry, { ...STOPPED_HERE, state: 'failed', problem: progress.problem });
      case 'gave-up':
        this.#setStatus({ waiting: null });
        this.#tab.apply({ type: 'lost', entry, problem: progress.problem });
        announce(!progress.problem ? 'lost' : codeOf(progress.problem) === 'unauthorized' ? 'unauthorized' : 'failed', this.#tab.reply(entry));
    }
  }

  /** @param {string} entry @param {End} end @param {boolean} [live] whether it ends now, and did not end before */
  #end(entry, { state, problem, finishReason }, live = true) {
    this.#status.finish(this.#dependencies.environment.now());
    this.#tab.apply({ type: 'ended', entry, state, problem, finishReason, at: live ? Date.now() : null });
    this.#followed.leave(entry);
    this.#announceEnd(entry);
  }

  /** @param {string} entry of a reply that has ended */
  #announceEnd(entry) {
    const reply = this.#tab.reply(entry);
    if (!reply || !isFinal(reply.state)) return;
    this.#dependencies.announce(reply.state === 'done' ? completeness(reply) : reply.state, reply);
  }

  /** Stop a reply at the service, with its own connection let go meanwhile. @param {Reply} reply */
  #stopAtService(reply) {
    const { base, environment } = this.#dependencies;
    const isRunning = () => runningReply(this.conversation)?.id === reply.id;
    this.#followed.pauseWhile(reply.id, async () => {
      const id = await stopReply(base, reply, environment, isRunning);
      if (id) this.#tab.apply({ type: 'started', entry: reply.id, reply: id });
    });
  }

  /** Return the transport that a choice begins with. @param {TransportName | 'auto'} chosen @returns {TransportName} */
  #resolve(chosen) {
    return chosen === 'auto' ? initialTransport(this.#dependencies.persistence.verdict, Date.now()) : chosen;
  }

  /** @param {Partial<Status>} change */
  #setStatus(change) {
    this.#status.set(change);
    this.#refresh();
  }

  /** Draw before the next frame, however often this is called until then. */
  #refresh() {
    if (this.#frameRequested) return;
    this.#frameRequested = true;
    this.#dependencies.requestFrame(() => {
      this.#frameRequested = false;
      this.#tab.release();
      this.#tab.saveIfDue();
      this.#dependencies.draw(this.conversation, this.#status.value);
    });
  }
}
