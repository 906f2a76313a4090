/**
 * The view of one reply: its text as it grows, its Markdown as the service renders it, what stands beside it, and its
 * buttons.
 *
 * The text stands exactly in one element, `.text`. Where Markdown is shown, `.rendered` stands before it, and
 * the part of the text that it shows is hidden in `.text`, not removed, so that `.text` can be read as a whole.
 *
 * @import { Reply } from './conversation.js'
 * @import { EndAction } from './ending.js'
 * @import { Rendering } from './markdown.js'
 * @import { Translate } from './translate.js'
 *
 * @typedef {object} ReplyActions
 *   What a reply's view asks for.
 * @property {(reply: string) => Promise<Rendering>} render asks the service for a reply's HTML
 * @property {(entry: string, html: string) => void} keepHTML keeps a reply's final HTML with the conversation
 * @property {(reply: string) => string} linkTo returns the address that opens a reply
 * @property {(url: string) => boolean} isOwn returns whether an address is the service's own
 */
import { dressBlocks } from './blocks.js';
import { copyOnClick } from './copying.js';
import { find } from './elements.js';
import { EndView } from './end-view.js';
import { GrowingText } from './growing-text.js';
import { finishedLength, RENDER_INTERVAL_MS } from './markdown.js';
import { PartsView } from './parts-view.js';
import { indexOfCodePoint } from './position.js';

/** How often HTML that could not be fetched is asked for again, each time after a pause twice as long. */
const MAX_RETRIES = 5;

/** The view of one reply, in an element made from `#reply-template`. */
export class ReplyView {
  #element;
  #translate;
  #actions;
  #text;
  #growing;
  #rendered;
  /** The HTML of each block in `.rendered`. @type {string[]} */
  #blocks = [];
  #parts;
  #end;
  #rawButton;
  #retryButton;
  #copyButton;
  #link;
  /** The reply as it was drawn last. @type {Reply | null} */
  #reply = null;
  #last = false;
  #raw = false;
  /** Whether a request for HTML is under way. */
  #rendering = false;
  #requestedAt = -Infinity;
  /** How much of the text (UTF-16 units) was finished when HTML was requested last; `Infinity` to never ask again. */
  #requestedTo = -1;
  #retries = 0;
  /** Whether `.rendered` shows the whole reply, which has ended. */
  #complete = false;
  /** Whether the reply was seen to run. The service may have forgotten one that was loaded from storage. */
  #wasRunning = false;
  /** How much of the text `.rendered` shows, in UTF-16 units. */
  #renderedTo = 0;
  #hiddenTo = 0;
  /** The idempotency key of the reply that is shown: another key is another attempt, which is drawn anew. */
  #key = '';

  /**
   * @param {HTMLElement} element
   * @param {Translate} translate
   * @param {ReplyActions} actions
   * @param {(raw: boolean) => void} setRaw shows all replies as written, or as Markdown
   * @param {(reply: Reply, action: EndAction) => void} act does what helps after the reply's end
   */
  constructor(element, translate, actions, setRaw, act) {
    this.#element = element;
    this.#translate = translate;
    this.#actions = actions;
    this.#text = find('.text', HTMLElement, element);
    this.#growing = new GrowingText(this.#text);
    this.#rendered = find('.rendered', HTMLElement, element);
    this.#parts = new PartsView(element, translate, actions.isOwn);
    this.#end = new EndView(element, translate, (action) => this.#reply && act(this.#reply, action));
    this.#rawButton = find('.raw', HTMLButtonElement, element);
    this.#retryButton = find('.actions .retry', HTMLButtonElement, element);
    this.#copyButton = find('.copy', HTMLButtonElement, element);
    this.#link = find('.link', HTMLAnchorElement, element);
    this.#rawButton.addEventListener('click', () => setRaw(this.#rawButton.getAttribute('aria-pressed') !== 'true'));
    this.#retryButton.addEventListener('click', () => this.#reply && act(this.#reply, 'retry'));
    this.#rendered.addEventListener('click', (event) => this.#followNote(event));
    copyOnClick(this.#copyButton, () => this.#reply?.text ?? '', translate);
  }

  /**
   * Draw a reply, touching only what differs from how it was drawn last.
   *
   * @param {Reply} reply
   * @param {boolean} last whether it is the last entry, and no reply runs, so that it may be retried
   * @param {boolean} raw whether it is shown as written
   */
  draw(reply, last, raw) {
    // Most replies of a conversation are the same from one frame to the next.
    if (reply === this.#reply && last === this.#last && raw === this.#raw) return;
    this.#last = last;
    this.#raw = raw;
    const running = reply.state === 'running';
    if (this.#key !== reply.key || reply.text.length < this.#growing.length) this.#restart(reply.key);
    if (reply.text.length > this.#growing.length) this.#growing.append(reply.text.slice(this.#growing.length));
    if (reply.state !== this.#reply?.state || reply.stopping !== this.#reply?.stopping) {
      this.#element.dataset['state'] = reply.state;
      this.#element.setAttribute('aria-busy', String(running));
      this.#text.classList.toggle('growing', running);
    }
    this.#parts.draw(reply);
    // The card of an end has the action that helps then.
    const explained = this.#end.draw(reply, last);
    this.#retryButton.hidden = explained || !last || running || reply.key === '';
    this.#copyButton.hidden = running || reply.text === '';
    this.#link.hidden = reply.reply === null || !running;
    if (reply.reply && reply.reply !== this.#reply?.reply) this.#link.href = this.#actions.linkTo(reply.reply);
    this.#reply = reply;
    this.#drawMarkdown(reply, raw);
  }

  /** @param {string} key */
  #restart(key) {
    this.#key = key;
    this.#growing.clear();
    this.#parts.clear();
    this.#rendered.replaceChildren();
    this.#blocks = [];
    this.#complete = this.#wasRunning = false;
    this.#requestedTo = -1;
    this.#retries = 0;
    this.#renderedTo = this.#hiddenTo = 0;
  }

  /** Show what HTML there is, and ask for more if it is time. @param {Reply} reply @param {boolean} raw */
  #drawMarkdown(reply, raw) {
    // HTML that was kept with the conversation is used first: the service may have forgotten the reply since.
    if (reply.html && !this.#complete && reply.state !== 'running') this.#showHTML(reply.html, true);
    const any = this.#rendered.childElementCount > 0;
    this.#rendered.hidden = raw || !any;
    this.#text.hidden = !raw && this.#complete;
    this.#rawButton.hidden = !any;
    this.#rawButton.setAttribute('aria-pressed', String(raw));
    const hiddenTo = raw || this.#complete ? 0 : this.#renderedTo;
    if (hiddenTo !== this.#hiddenTo) this.#growing.hideBefore(hiddenTo);
    this.#hiddenTo = hiddenTo;
    this.#wasRunning ||= reply.state === 'running';
    if (raw || !this.#wasRunning || !reply.reply || this.#rendering || this.#complete || reply.text === '') return;
    const ended = reply.state === 'done' || reply.state === 'stopped';
    const now = performance.now();
    if (!ended && (reply.state !== 'running' || now - this.#requestedAt < RENDER_INTERVAL_MS)) return;
    // One more than the text has, so that the HTML is asked for once more at the end, even if that of all the text was.
    const to = ended ? reply.text.length + 1 : finishedLength(reply.text, this.#renderedTo);
    if (to <= this.#requestedTo || to === 0) return;
    this.#requestedTo = to;
    this.#requestedAt = now;
    this.#requestHTML(reply, ended);
  }

  /** @param {Reply} reply @param {boolean} ended */
  async #requestHTML(reply, ended) {
    this.#rendering = true;
    const rendering = await this.#actions.render(reply.reply ?? '');
    this.#rendering = false;
    // Another attempt at the reply may have begun meanwhile.
    if (reply.key === this.#key) {
      if (rendering.type === 'unavailable') this.#requestedTo = Infinity;
      else if (rendering.type === 'failed') this.#retryHTML();
      else {
        this.#retries = 0;
        this.#showHTML(rendering.html, ended);
        if (ended) this.#actions.keepHTML(reply.id, rendering.html);
      }
    }
    this.#redrawMarkdown();
  }

  #redrawMarkdown() {
    if (this.#reply) this.#drawMarkdown(this.#reply, this.#raw);
  }

  #retryHTML() {
    if (this.#retries === MAX_RETRIES) return;
    const key = this.#key;
    setTimeout(() => {
      if (key !== this.#key || !this.#element.isConnected) return;
      this.#requestedTo = -1;
      this.#redrawMarkdown();
    }, RENDER_INTERVAL_MS * 2 ** this.#retries++);
  }

  /**
   * Show the blocks of a document that the service rendered. Each says by `data-end` at which position of the
   * text it ends (PROTOCOL.md section 2). While the reply runs the last block is left out, since what comes may
   * turn it into another one, and so are blocks that end behind the text that is here: the service may be
   * further.
   *
   * @param {string} html
   * @param {boolean} ended whether it is the whole reply
   */
  #showHTML(html, ended) {
    let blocks = [...new DOMParser().parseFromString(html, 'text/html').body.children];
    if (!ended) {
      const { text = '', position = 0 } = this.#reply ?? {};
      blocks = blocks.slice(0, -1).filter((block) => Number(block.getAttribute('data-end') ?? Infinity) <= position);
      this.#renderedTo = indexOfCodePoint(text, Number(blocks.at(-1)?.getAttribute('data-end') ?? 0));
    }
    this.#complete = ended;
    // Blocks that are the same stay in place: they may be selected or scrolled sideways, and laying them out anew
    // would cost more with each request.
    const sources = blocks.map((block) => block.outerHTML);
    const different = sources.findIndex((source, i) => source !== this.#blocks[i]);
    const same = different < 0 ? sources.length : different;
    for (const gone of [...this.#rendered.children].slice(same)) gone.remove();
    this.#blocks = sources;
    const added = document.createDocumentFragment();
    added.append(...blocks.slice(same));
    this.#removeOwnLinks(added);
    dressBlocks(added, this.#translate);
    this.#rendered.append(added);
  }

  /**
   * Make links to the service itself plain text: following one asks something of the service that the model chose.
   * Those between a footnote and what refers to it stay.
   *
   * @param {DocumentFragment} blocks
   */
  #removeOwnLinks(blocks) {
    for (const link of blocks.querySelectorAll('a')) {
      const isNote = link.getAttribute('href')?.startsWith('#');
      if (link.href && !isNote && this.#actions.isOwn(link.href)) link.removeAttribute('href');
    }
  }

  /**
   * Go to a footnote, or back from one. The address stays: its fragment names the reply that a link has opened.
   *
   * @param {MouseEvent} event
   */
  #followNote(event) {
    const link = event.target instanceof Element ? event.target.closest('a[href^="#"]') : null;
    if (!link) return;
    event.preventDefault();
    const note = this.#rendered.querySelector(`[id="${CSS.escape(link.getAttribute('href')?.slice(1) ?? '')}"]`);
    if (!(note instanceof HTMLElement)) return;
    if (!note.matches('a')) note.tabIndex = -1;
    note.focus();
  }
}
