/**
 * What there is to see and to press; each reply has a view of its own. It is handed values and draws what differs from the
 * last ones.
 *
 * @import { Conversation, Entry, Reply } from './conversation.js'
 * @import { Said, Status } from './chat.js'
 * @import { Words } from './words.js'
 * @import { TransportName } from './transports/transport.js'
 *
 * @typedef {object} Deeds what a person does; the composition root connects them
 * @property {(text: string) => 'sent' | 'busy' | 'empty' | 'too-long'} send
 * @property {() => void} stop
 * @property {() => void} clear
 * @property {(entry: string) => void} retry
 * @property {(entry: string) => void} resume
 * @property {(chosen: TransportName | 'auto') => void} use
 * @property {(text: string) => void} draft
 * @property {(raw: boolean) => void} raw
 * @property {(reply: string) => Promise<{html: string} | 'never' | 'later'>} render
 * @property {(entry: string, html: string) => void} keepHTML
 * @property {(reply: string) => string} link
 */
import { running } from './conversation.js';
import { find } from './find.js';
import { ReplyView } from './reply-view.js';

/** Whoever is this near to the end (CSS pixels) reads along. */
const NEAR = 60;

export class View {
  #words;
  #deeds;
  #log = find('#log', HTMLElement);
  #scroller = find('#scroller', HTMLElement);
  #form = find('#composer', HTMLFormElement);
  #input = find('#message', HTMLTextAreaElement);
  #send = find('#send', HTMLButtonElement);
  #stop = find('#stop', HTMLButtonElement);
  #toEndButton = find('#to-end', HTMLButtonElement);
  #clear = find('#clear', HTMLButtonElement);
  #transport = find('#transport', HTMLSelectElement);
  #using = find('#using', HTMLElement);
  #notice = find('#notice', HTMLElement);
  #said = find('#said', HTMLElement);
  /** @type {Map<string, {entry: Entry, element: HTMLElement, view: ReplyView | null}>} */
  #drawn = new Map();
  #following = true;
  /** The sizes (CSS pixels) with which the end was last shown. */
  #end = { height: 0, room: 0 };
  #raw;
  #error = '';
  #countdown = 0;
  /** @type {[Conversation, Status] | null} */
  #last = null;

  /**
   * @param {Words} words
   * @param {Deeds} deeds
   * @param {{draft: string, raw: boolean}} kept
   */
  constructor(words, deeds, kept) {
    this.#words = words;
    this.#deeds = deeds;
    this.#raw = kept.raw;
    this.#input.value = kept.draft;
    this.#listen();
    this.#fit();
  }

  /** @param {Said} said */
  say(said) {
    this.#said.textContent = this.#words(`said.${said}`);
  }

  /**
   * @param {Conversation} conversation
   * @param {Status} status
   */
  draw(conversation, status) {
    const before = this.#last?.[0];
    const focused = document.activeElement;
    this.#last = [conversation, status];
    if (before !== conversation) this.#drawEntries(conversation);
    this.#drawStatus(conversation, status);
    // What goes takes the focus with it, and a keyboard would begin at the top of the page again.
    if (focused && (!focused.isConnected || focused.matches('[hidden], [hidden] *, :disabled'))) this.#input.focus();
    if (this.#following) this.#toEnd();
  }

  /** Brings a reply that a link names before the reader. @param {string} reply */
  show(reply) {
    for (const { entry, element } of this.#drawn.values()) {
      if (entry.role === 'assistant' && entry.reply === reply) element.scrollIntoView({ block: 'start' });
    }
  }

  focus() {
    this.#input.focus();
  }

  /** @param {Conversation} conversation */
  #drawEntries(conversation) {
    const last = conversation.entries.at(-1);
    const busy = running(conversation) !== null;
    const ids = new Set(conversation.entries.map(({ id }) => id));
    for (const [id, { element }] of this.#drawn) {
      if (ids.has(id)) continue;
      element.remove();
      this.#drawn.delete(id);
    }
    for (const entry of conversation.entries) {
      let drawn = this.#drawn.get(entry.id);
      if (!drawn) {
        drawn = entry.role === 'user' ? this.#message(entry) : this.#reply(entry);
        this.#drawn.set(entry.id, drawn);
        this.#log.append(drawn.element);
      }
      if (entry.role === 'assistant') drawn.view?.draw(entry, entry === last && !busy, this.#raw);
      drawn.entry = entry;
    }
    document.body.classList.toggle('empty', conversation.entries.length === 0);
  }

  /** @param {import('./conversation.js').Message} message */
  #message(message) {
    const element = this.#clone('#message-template');
    find('.text', HTMLElement, element).textContent = message.text;
    return { entry: /** @type {Entry} */ (message), element, view: null };
  }

  /** @param {Reply} reply */
  #reply(reply) {
    const element = this.#clone('#reply-template');
    const view = new ReplyView(element, this.#words, this.#deeds, (raw) => this.#setRaw(raw));
    return { entry: /** @type {Entry} */ (reply), element, view };
  }

  /** @param {string} template */
  #clone(template) {
    const content = find(template, HTMLTemplateElement).content.cloneNode(true);
    return find('article', HTMLElement, /** @type {DocumentFragment} */ (content));
  }

  /** @param {boolean} raw */
  #setRaw(raw) {
    this.#raw = raw;
    this.#deeds.raw(raw);
    if (this.#last) this.#drawEntries(this.#last[0]);
  }

  /**
   * @param {Conversation} conversation
   * @param {Status} status
   */
  #drawStatus(conversation, status) {
    const words = this.#words;
    const busy = running(conversation);
    this.#send.hidden = busy !== null;
    this.#stop.hidden = busy === null;
    this.#stop.disabled = busy?.stopping ?? false;
    this.#clear.disabled = conversation.entries.length === 0;
    this.#transport.value = status.chosen;
    const parts = [words(`transport.${status.transport}`)];
    if (status.firstMs !== null) parts.push(words('status.first', { seconds: (status.firstMs / 1000).toFixed(2) }));
    if (status.rate !== null) parts.push(words('status.rate', { rate: status.rate.toFixed(status.rate < 100 ? 1 : 0) }));
    put(this.#using, parts.join(' · '));
    put(this.#notice, this.#noticeText(status, busy !== null));
    clearTimeout(this.#countdown);
    if (status.waiting) this.#countdown = setTimeout(() => this.#last && this.#drawStatus(...this.#last), 250);
  }

  /** @param {Status} status @param {boolean} busy */
  #noticeText({ online, waiting }, busy) {
    const words = this.#words;
    if (!online) return words('notice.offline');
    if (busy && waiting) {
      const seconds = Math.max(0, Math.ceil((waiting.until - performance.now()) / 1000));
      if (waiting.problem) {
        const limited = waiting.problem.type.endsWith('/too-many-requests');
        return words(limited ? 'notice.limited' : 'notice.overloaded', { seconds });
      }
      return words('notice.reconnecting');
    }
    return this.#error && words(this.#error);
  }

  #listen() {
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#input.addEventListener('keydown', (event) => {
      // Safari ends the composition before it tells of the key; 229 still says whose key it was.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.#submit();
    });
    this.#input.addEventListener('input', () => {
      this.#error = '';
      this.#deeds.draft(this.#input.value);
      this.#fit();
      if (this.#last) this.#drawStatus(...this.#last);
    });
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && !event.isComposing && event.keyCode !== 229) this.#deeds.stop();
    });
    this.#stop.addEventListener('click', () => {
      this.#deeds.stop();
      this.#input.focus();
    });
    this.#clear.addEventListener('click', () => {
      this.#deeds.clear();
      this.#input.focus();
    });
    this.#transport.addEventListener('change', () => {
      this.#deeds.use(/** @type {TransportName | 'auto'} */ (this.#transport.value));
    });
    this.#toEndButton.addEventListener('click', () => {
      this.#follow(true);
      this.#toEnd();
      this.#input.focus();
    });
    this.#scroller.addEventListener('scroll', () => {
      const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
      const near = scrollHeight - scrollTop - clientHeight < NEAR;
      // A keyboard that slides in, or a window made smaller, moves the end away from a reader who did not move.
      const resized = scrollHeight !== this.#end.height || clientHeight !== this.#end.room;
      if (this.#following && resized && !near) this.#toEnd();
      else this.#follow(near);
    }, { passive: true });
    addEventListener('resize', () => this.#fit());
    new ResizeObserver(() => {
      if (this.#following) this.#toEnd();
    }).observe(this.#scroller);
    // Blocks are a means of layout; what is copied is the text as it is.
    this.#log.addEventListener('copy', (event) => {
      const selection = getSelection();
      const anchor = selection?.anchorNode;
      const text = (anchor instanceof Element ? anchor : anchor?.parentElement)?.closest('.text');
      if (!selection || !text || !text.contains(selection.focusNode)) return;
      event.clipboardData?.setData('text/plain', selection.getRangeAt(0).cloneContents().textContent ?? '');
      event.preventDefault();
    });
  }

  /** @param {boolean} following */
  #follow(following) {
    this.#following = following;
    this.#toEndButton.hidden = following;
  }

  #toEnd() {
    const scroller = this.#scroller;
    scroller.scrollTop = scroller.scrollHeight;
    this.#end = { height: scroller.scrollHeight, room: scroller.clientHeight };
  }

  #submit() {
    const outcome = this.#deeds.send(this.#input.value);
    this.#error = outcome === 'too-long' ? 'notice.too-long' : '';
    // The notice counts down at times, so it isn't read aloud; this is.
    if (this.#error) this.#said.textContent = this.#words(this.#error);
    if (outcome === 'sent') {
      this.#input.value = '';
      this.#deeds.draft('');
      this.#fit();
      this.#follow(true);
    }
    this.#input.focus();
    if (this.#last) this.#drawStatus(...this.#last);
  }

  /** As high as its text, within what the style sheet allows; browsers that can do it themselves do. */
  #fit() {
    if (CSS.supports('field-sizing', 'content')) return;
    const { paddingTop, paddingBottom, lineHeight } = getComputedStyle(this.#input);
    this.#input.rows = 1;
    const height = this.#input.scrollHeight - parseFloat(paddingTop) - parseFloat(paddingBottom);
    this.#input.rows = Math.max(1, Math.min(8, Math.round(height / parseFloat(lineHeight))));
  }
}

/** @param {HTMLElement} element @param {string} text */
function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
