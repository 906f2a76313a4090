/**
 * The view of the whole page: what there is to see and to press. It is handed values, and changes in the DOM
 * what differs from the values before; each reply has a `ReplyView` of its own.
 *
 * @import { Announcement, SendOutcome } from './chat.js'
 * @import { Conversation, Entry, Message, Reply } from './conversation.js'
 * @import { Status } from './current-status.js'
 * @import { EndAction } from './ending.js'
 * @import { ReplyActions } from './reply-view.js'
 * @import { TransportName } from './transports/transport.js'
 * @import { Translate } from './translate.js'
 *
 * @typedef {object} PageActions
 *   What a person can do on the page.
 * @property {(text: string) => SendOutcome} send sends a message
 * @property {(entry: string) => void} retry asks anew for a reply that has ended
 * @property {(entry: string) => void} resume reads on in a reply that was given up
 * @property {() => void} stop stops the running reply, if one runs
 * @property {() => void} clear begins a new conversation
 * @property {(chosen: TransportName | 'auto') => void} chooseTransport reads over another one
 * @property {(text: string) => void} saveDraft keeps what stands in the composer
 * @property {(raw: boolean) => void} saveRaw keeps whether replies are shown as written
 *
 * @typedef {PageActions & ReplyActions} Actions
 *   All that a person can do; the composition root `main.js` connects it with the chat.
 */
import { fitToText, isComposing } from './composing.js';
import { runningReply } from './conversation.js';
import { find, say, setText } from './elements.js';
import { endingOf, hasArrived } from './ending.js';
import { ReadingPlace } from './reading-place.js';
import { ReplyView } from './reply-view.js';
import { WaitingView } from './waiting-view.js';

/** The view of the page, over the elements of `templates/chat.html`. */
export class View {
  #translate;
  #actions;
  #log = find('#log', HTMLElement);
  #form = find('#composer', HTMLFormElement);
  #input = find('#message', HTMLTextAreaElement);
  #send = find('#send', HTMLButtonElement);
  #stop = find('#stop', HTMLButtonElement);
  #clear = find('#clear', HTMLButtonElement);
  #transport = find('#transport', HTMLSelectElement);
  #using = find('#using', HTMLElement);
  #notice = find('#notice', HTMLElement);
  /**
   * The elements and views in the log by entry.
   *
   * @type {Map<string, {entry: Entry, element: HTMLElement, view: ReplyView | null}>}
   */
  #drawn = new Map();
  #place = new ReadingPlace(() => this.#input.focus());
  /** Whether something was asked on this page since the last draw, and not in another tab. */
  #asked = false;
  /** The key of the running reply that was drawn last; empty if there is none. */
  #runningKey = '';
  #raw;
  /** The key of the sentence about the message in the composer, such as `notice.too-long`; empty if it is fine. */
  #error = '';
  #waiting;
  /** What was drawn last. @type {[Conversation, Status] | null} */
  #last = null;

  /**
   * @param {Translate} translate
   * @param {Actions} actions
   * @param {{draft: string, raw: boolean}} kept the values that this browser kept
   */
  constructor(translate, actions, kept) {
    this.#translate = translate;
    this.#actions = actions;
    this.#waiting = new WaitingView(translate);
    this.#raw = kept.raw;
    this.#input.value = kept.draft;
    this.#listen();
    fitToText(this.#input);
  }

  /**
   * Have a screen reader say what became of a reply: of an end that has a card what that says.
   *
   * @param {Announcement} announcement
   * @param {Reply | null} reply
   */
  announce(announcement, reply) {
    const told = announcement === 'started' || announcement === 'done' || announcement === 'lost';
    const key = told ? `said.${announcement}` : reply && endingOf(reply)?.key;
    if (key) say(this.#translate(key));
  }

  /**
   * Draw the conversation and the status line.
   *
   * @param {Conversation} conversation
   * @param {Status} status
   */
  draw(conversation, status) {
    const before = this.#last?.[0];
    const focused = document.activeElement;
    this.#last = [conversation, status];
    if (before !== conversation) {
      this.#drawEntries(conversation);
      this.#showNewQuestion(conversation);
    }
    this.#drawStatus(conversation, status);
    // An element that is hidden or removed loses the focus, and the next Tab would start at the top of the page.
    if (focused && (!focused.isConnected || focused.matches('[hidden], [hidden] *, :disabled'))) this.#input.focus();
    this.#place.drawn();
  }

  /**
   * Scroll to a reply that a link names, if it is in the conversation.
   *
   * @param {string} reply the reply's id
   */
  show(reply) {
    for (const { entry, element } of this.#drawn.values()) {
      if (entry.role === 'assistant' && entry.reply === reply) this.#place.show(element);
    }
  }

  /** Put the cursor into the composer. */
  focus() {
    this.#input.focus();
  }

  /** @param {Conversation} conversation */
  #drawEntries(conversation) {
    const last = conversation.entries.at(-1);
    const busy = runningReply(conversation) !== null;
    const ids = new Set(conversation.entries.map(({ id }) => id));
    for (const [id, { element }] of this.#drawn) {
      if (ids.has(id)) continue;
      element.remove();
      this.#drawn.delete(id);
    }
    for (const entry of conversation.entries) {
      let drawn = this.#drawn.get(entry.id);
      if (!drawn) {
        drawn = entry.role === 'user' ? this.#createMessage(entry) : this.#createReply(entry);
        this.#drawn.set(entry.id, drawn);
        this.#log.append(drawn.element);
      }
      if (entry.role === 'assistant') drawn.view?.draw(entry, entry === last && !busy, this.#raw);
      drawn.entry = entry;
    }
    document.body.classList.toggle('empty', conversation.entries.length === 0);
  }

  /**
   * Show the question of a reply that runs since the last draw, unless it was asked in another tab while the reader of
   * this one is somewhere else. A reply that is read on was running before.
   *
   * @param {Conversation} conversation
   */
  #showNewQuestion(conversation) {
    const [message, reply] = conversation.entries.slice(-2);
    const question = message?.role === 'user' ? this.#drawn.get(message.id)?.element ?? null : null;
    this.#place.setQuestion(question);
    const key = reply?.role === 'assistant' && reply.state === 'running' ? reply.key : '';
    if (key && key !== this.#runningKey && (this.#asked || this.#place.atEnd)) this.#place.showQuestion();
    if (key) this.#runningKey = key;
    this.#asked = false;
  }

  /** @param {Message} message */
  #createMessage(message) {
    const element = this.#clone('#message-template');
    find('.text', HTMLElement, element).textContent = message.text;
    return { entry: /** @type {Entry} */ (message), element, view: null };
  }

  /** @param {Reply} reply */
  #createReply(reply) {
    const element = this.#clone('#reply-template');
    const setRaw = (/** @type {boolean} */ raw) => this.#setRaw(raw);
    const view = new ReplyView(element, this.#translate, this.#actions, setRaw, (ended, action) => this.#act(ended, action));
    return { entry: /** @type {Entry} */ (reply), element, view };
  }

  /** Do what helps after a reply's end. @param {Reply} reply @param {EndAction} action */
  #act(reply, action) {
    const entries = this.#last?.[0].entries ?? [];
    const question = entries.slice(0, entries.indexOf(reply)).findLast(({ role }) => role === 'user')?.text ?? '';
    if (action === 'resume') this.#actions.resume(reply.id);
    else if (action === 'continue') this.#sendNow(this.#translate('continue.question'));
    else if (action === 'change') this.#write([question, this.#input.value].filter(Boolean).join('\n\n'));
    else if (action === 'ask' && hasArrived(reply)) this.#sendNow(question);
    else {
      this.#asked = true;
      this.#actions.retry(reply.id);
    }
    this.#input.focus();
  }

  /** Send a message, and say why it can't be sent. @param {string} text @returns {boolean} whether it was sent */
  #sendNow(text) {
    const outcome = this.#actions.send(text);
    this.#error = outcome === 'too-long' ? 'notice.too-long' : '';
    if (this.#error) say(this.#translate(this.#error));
    this.#asked ||= outcome === 'sent';
    this.#redrawStatus();
    return outcome === 'sent';
  }

  /** Put a text into the composer. @param {string} text */
  #write(text) {
    this.#input.value = text;
    this.#input.dispatchEvent(new Event('input'));
  }

  /** @param {string} template */
  #clone(template) {
    const content = find(template, HTMLTemplateElement).content.cloneNode(true);
    return find('article', HTMLElement, /** @type {DocumentFragment} */ (content));
  }

  /** @param {boolean} raw */
  #setRaw(raw) {
    this.#raw = raw;
    this.#actions.saveRaw(raw);
    if (this.#last) this.#drawEntries(this.#last[0]);
  }

  /**
   * @param {Conversation} conversation
   * @param {Status} status
   */
  #drawStatus(conversation, status) {
    const translate = this.#translate;
    const running = runningReply(conversation);
    this.#send.hidden = running !== null;
    this.#stop.hidden = running === null;
    this.#stop.disabled = running?.stopping ?? false;
    this.#clear.disabled = conversation.entries.length === 0;
    this.#transport.value = status.chosen;
    /** @type {string[]} */
    const parts = [];
    // Which transport it is says something to whoever runs the service alone.
    this.#using.title = translate(`transport.${status.transport}`);
    const { firstMs, rate } = status;
    if (firstMs !== null) parts.push(translate('status.first', { seconds: (firstMs / 1000).toFixed(2) }));
    if (rate !== null) parts.push(translate('status.rate', { rate: rate.toFixed(rate < 100 ? 1 : 0) }));
    setText(this.#using, parts.join(' · '));
    setText(this.#notice, status.online ? this.#error && translate(this.#error) : translate('notice.offline'));
    const shown = running && this.#drawn.get(running.id);
    if (shown) this.#waiting.draw(running, shown.element, status);
    else this.#waiting.clear();
  }

  #redrawStatus() {
    if (this.#last) this.#drawStatus(...this.#last);
  }

  #listen() {
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#input.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || isComposing(event)) return;
      event.preventDefault();
      this.#submit();
    });
    this.#input.addEventListener('input', () => {
      this.#error = '';
      this.#actions.saveDraft(this.#input.value);
      fitToText(this.#input);
      this.#redrawStatus();
    });
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && !isComposing(event)) this.#actions.stop();
    });
    this.#stop.addEventListener('click', () => {
      this.#actions.stop();
      this.#input.focus();
    });
    for (const starter of document.querySelectorAll('.starters button')) {
      starter.addEventListener('click', () => this.#sendNow(starter.textContent ?? ''));
    }
    this.#clear.addEventListener('click', () => {
      this.#actions.clear();
      this.#input.focus();
    });
    this.#transport.addEventListener('change', () => {
      this.#actions.chooseTransport(/** @type {TransportName | 'auto'} */ (this.#transport.value));
    });
    addEventListener('resize', () => fitToText(this.#input));
    // The blocks of a growing text are there for its layout alone; a browser would copy a line end behind each.
    this.#log.addEventListener('copy', (event) => {
      const selection = getSelection();
      const anchor = selection?.anchorNode;
      const text = (anchor instanceof Element ? anchor : anchor?.parentElement)?.closest('.text, .grown');
      if (!selection || !text || !text.contains(selection.focusNode)) return;
      event.clipboardData?.setData('text/plain', selection.getRangeAt(0).cloneContents().textContent ?? '');
      event.preventDefault();
    });
  }

  #submit() {
    if (this.#sendNow(this.#input.value)) {
      this.#input.value = '';
      this.#actions.saveDraft('');
      fitToText(this.#input);
    }
    // To focus what is focused has the page laid out all the same.
    if (document.activeElement !== this.#input) this.#input.focus();
  }
}
