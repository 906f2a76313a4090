/**
 * The view of one reply: its text as it grows, its Markdown as the service renders it, what stands beside it, and its
 * buttons.
 *
 * The text stands exactly in one element, `.text`, which is hidden where Markdown is shown, in `.rendered`.
 *
 * @import { Block } from './rendered-blocks.js'
 * @import { Reply } from './conversation.js'
 * @import { EndAction } from './ending.js'
 * @import { Rendering } from './markdown.js'
 * @import { Translate } from './translate.js'
 *
 * @typedef {object} ReplyActions
 *   What a reply's view asks for.
 * @property {() => boolean} rendersInStream returns whether the transport in use brings rendered blocks with the text
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
import { BLOCKS_TIMEOUT_MS, RENDER_INTERVAL_MS } from './markdown.js';
import { PartsView } from './parts-view.js';
import { blocksOf, isWhole, RenderedView } from './rendered-view.js';

/** How often the HTML of a whole reply is asked for again, each time after a pause about twice as long. */
const MAX_RETRIES = 5;

/** The view of one reply, in an element made from `#reply-template`. */
export class ReplyView {
  #element;
  #translate;
  #actions;
  #text;
  #growing;
  #rendered;
  #markdown;
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
  /** The blocks that came with the text, as they were drawn last. @type {readonly Block[]} */
  #received = [];
  /** The blocks that a request has brought since. @type {readonly Block[]} */
  #fetched = [];
  /** The blocks of the HTML that is kept with the conversation. @type {{html: string, blocks: readonly Block[]}} */
  #kept = { html: '', blocks: [] };
  /** Whether a request for HTML is under way. */
  #requesting = false;
  /** When blocks came last, or when a request for them has failed. */
  #renderedAt = -Infinity;
  /** How many requests for the HTML of the whole reply have failed. */
  #retries = 0;
  /** Whether no request will bring HTML. */
  #unavailable = false;
  #timer = 0;
  /** Whether the reply was seen to run. The service may have forgotten one that was loaded from storage. */
  #wasRunning = false;
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
    this.#markdown = new RenderedView(this.#rendered, {
      clean: (blocks) => this.#removeOwnLinks(blocks),
      furnish: (blocks) => dressBlocks(blocks, translate),
    });
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
    this.#markdown.clear();
    this.#received = this.#fetched = [];
    this.#unavailable = this.#wasRunning = false;
    this.#retries = 0;
    this.#renderedAt = performance.now();
  }

  /** Show the Markdown, or the text as it was written, and ask for HTML if it is time. @param {Reply} reply @param {boolean} raw */
  #drawMarkdown(reply, raw) {
    const running = reply.state === 'running';
    this.#wasRunning ||= running;
    if (this.#received !== reply.blocks) {
      this.#received = reply.blocks;
      this.#fetched = [];
      this.#renderedAt = performance.now();
    }
    const blocks = this.#blocksOf(reply);
    const any = blocks.length > 0 || (running && reply.text !== '' && !this.#unavailable);
    this.#rendered.hidden = raw || !any;
    this.#text.hidden = !raw && any;
    this.#rawButton.hidden = blocks.length === 0;
    this.#rawButton.setAttribute('aria-pressed', String(raw));
    if (raw) return;
    // What no block has is shown as written when no block will have it.
    const rest = !running && (reply.state === 'lost' || this.#unavailable || this.#retries > 0);
    const drawn = !any || this.#markdown.draw(blocks, reply.text, { running, rest });
    const whole = isWhole(blocks, reply.position);
    if (this.#wasRunning && reply.reply && reply.text !== '' && !(running ? drawn : whole)) this.#considerRequest(reply);
  }

  /** Return the blocks to show. @param {Reply} reply @returns {readonly Block[]} */
  #blocksOf(reply) {
    if (isWhole(reply.blocks, reply.position)) return reply.blocks;
    // HTML that was kept with the conversation comes first: the service may have forgotten the reply since.
    if (reply.html && reply.html !== this.#kept.html) this.#kept = { html: reply.html, blocks: blocksOf(reply.html, true) };
    if (reply.html && reply.state !== 'running') return this.#kept.blocks;
    return this.#fetched.length > 0 ? this.#fetched : reply.blocks;
  }

  /** Ask for the HTML of a text that is not all there as Markdown, now or when it is time. @param {Reply} reply */
  #considerRequest(reply) {
    if (this.#requesting || this.#unavailable || reply.state === 'lost') return;
    clearTimeout(this.#timer);
    const ended = reply.state !== 'running';
    const patience = this.#actions.rendersInStream() ? BLOCKS_TIMEOUT_MS : RENDER_INTERVAL_MS;
    const pause = ended ? RENDER_INTERVAL_MS * (2 ** this.#retries - 1) : patience;
    const wait = this.#renderedAt + pause - performance.now();
    if (wait <= 0) this.#requestHTML(reply, ended);
    else this.#timer = setTimeout(() => this.#element.isConnected && this.#redrawMarkdown(), wait);
  }

  /** @param {Reply} reply @param {boolean} ended */
  async #requestHTML(reply, ended) {
    this.#requesting = true;
    const rendering = await this.#actions.render(reply.reply ?? '');
    this.#requesting = false;
    // Another attempt at the reply may have begun meanwhile.
    if (reply.key === this.#key) {
      this.#renderedAt = performance.now();
      if (rendering.type === 'html') {
        this.#retries = 0;
        this.#fetched = blocksOf(rendering.html, ended);
        if (ended) this.#actions.keepHTML(reply.id, rendering.html);
        // A text without anything to show, such as a definition alone, is shown as written.
        this.#unavailable = ended && this.#fetched.length === 0;
      } else if (rendering.type === 'unavailable' || (ended && ++this.#retries > MAX_RETRIES)) this.#unavailable = true;
    }
    this.#redrawMarkdown();
  }

  #redrawMarkdown() {
    if (this.#reply) this.#drawMarkdown(this.#reply, this.#raw);
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
