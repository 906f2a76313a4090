/**
 * One reply in the log. Its text stands exactly in one element, `.text`; where Markdown is shown, `.rendered` stands before
 * it and the part that it shows is hidden in `.text`, not removed.
 *
 * @import { Reply } from './conversation.js'
 * @import { Deeds } from './view.js'
 * @import { Words } from './words.js'
 */
import { find } from './find.js';
import { GrowingText } from './growing-text.js';
import { EVERY_MS, finished } from './markdown.js';
import { indexOf } from './position.js';
import { codeOf } from './transports/transport.js';
import { problemKey } from './words.js';

/** So often it is asked again for what was lost on the way. */
const TRIES = 5;

export class ReplyView {
  #element;
  #words;
  #deeds;
  #text;
  #growing;
  #rendered;
  /** The HTML of each block in `.rendered`. @type {string[]} */
  #blocks = [];
  #notes;
  #problem;
  #raw;
  #retry;
  #resume;
  #copy;
  #link;
  /** @type {Reply | null} */
  #reply = null;
  #last = false;
  #asWritten = false;
  #asking = false;
  #askedAt = -Infinity;
  #askedTo = -1;
  #tries = 0;
  #final = false;
  /** Whether it was seen to run: of a reply out of storage the service may know nothing any more. */
  #live = false;
  #renderedTo = 0;
  #covered = 0;
  #key = '';

  /**
   * @param {HTMLElement} element
   * @param {Words} words
   * @param {Deeds} deeds
   * @param {(raw: boolean) => void} setRaw
   */
  constructor(element, words, deeds, setRaw) {
    this.#element = element;
    this.#words = words;
    this.#deeds = deeds;
    this.#text = find('.text', HTMLElement, element);
    this.#growing = new GrowingText(this.#text);
    this.#rendered = find('.rendered', HTMLElement, element);
    this.#notes = find('.notes', HTMLElement, element);
    this.#problem = find('.problem', HTMLElement, element);
    this.#raw = find('.raw', HTMLButtonElement, element);
    this.#retry = find('.retry', HTMLButtonElement, element);
    this.#resume = find('.resume', HTMLButtonElement, element);
    this.#copy = find('.copy', HTMLButtonElement, element);
    this.#link = find('.link', HTMLAnchorElement, element);
    this.#raw.addEventListener('click', () => setRaw(this.#raw.getAttribute('aria-pressed') !== 'true'));
    this.#retry.addEventListener('click', () => {
      if (this.#reply) deeds.retry(this.#reply.id);
      document.querySelector('textarea')?.focus();
    });
    this.#resume.addEventListener('click', () => {
      if (this.#reply) deeds.resume(this.#reply.id);
      document.querySelector('textarea')?.focus();
    });
    this.#copy.addEventListener('click', () => copy(this.#copy, this.#reply?.text ?? '', words));
  }

  /**
   * @param {Reply} reply
   * @param {boolean} last whether it is the last entry, and nothing runs
   * @param {boolean} raw
   */
  draw(reply, last, raw) {
    // Most of a conversation stays as it is from one frame to the next.
    if (reply === this.#reply && last === this.#last && raw === this.#asWritten) return;
    this.#last = last;
    this.#asWritten = raw;
    const running = reply.state === 'running';
    if (this.#key !== reply.key || reply.text.length < this.#growing.length) this.#restart(reply.key);
    if (reply.text.length > this.#growing.length) this.#growing.append(reply.text.slice(this.#growing.length));
    if (reply.state !== this.#reply?.state || reply.stopping !== this.#reply?.stopping) {
      this.#element.dataset['state'] = reply.state;
      this.#element.setAttribute('aria-busy', String(running));
      this.#text.classList.toggle('growing', running);
      this.#problem.textContent = this.#problemText(reply);
    }
    if (reply.switches !== this.#reply?.switches) this.#drawSwitches(reply);
    this.#retry.hidden = !last || running || reply.key === '';
    this.#resume.hidden = reply.state !== 'lost';
    this.#copy.hidden = running || reply.text === '';
    this.#link.hidden = reply.reply === null || !running;
    if (reply.reply && reply.reply !== this.#reply?.reply) this.#link.href = this.#deeds.link(reply.reply);
    this.#reply = reply;
    this.#drawMarkdown(reply, raw);
  }

  /** @param {string} key */
  #restart(key) {
    this.#key = key;
    this.#growing.clear();
    this.#rendered.replaceChildren();
    this.#blocks = [];
    this.#final = this.#live = false;
    this.#askedTo = -1;
    this.#tries = 0;
    this.#renderedTo = this.#covered = 0;
  }

  /** @param {Reply} reply */
  #problemText({ state, problem }) {
    if (state === 'stopped') return this.#words('said.stopped');
    if (state === 'lost' && !problem) return this.#words('problem.lost');
    if (state !== 'failed' && state !== 'lost') return '';
    const key = problemKey(codeOf(problem));
    const sentence = this.#words(key);
    // A model's refusal reaches the reader in its own words; the service's own are said better by the sentence.
    const told = key === 'problem.backend-failed' || key === 'problem.other';
    return told && problem?.detail ? `${sentence} ${problem.detail}` : sentence;
  }

  /** @param {Reply} reply */
  #drawSwitches({ switches }) {
    const words = this.#words;
    this.#notes.textContent = switches
      .map(({ from, to, reason }) => words('switched', {
        from: words(`transport.${from}`), to: words(`transport.${to}`), reason: words(`reason.${reason}`),
      }))
      .join(' ');
  }

  /** @param {Reply} reply @param {boolean} raw */
  #drawMarkdown(reply, raw) {
    // What an earlier page load had rendered; the service may have forgotten the reply since.
    if (reply.html && !this.#final && reply.state !== 'running') this.#show(reply.html, true);
    const any = this.#rendered.childElementCount > 0;
    this.#rendered.hidden = raw || !any;
    this.#text.hidden = !raw && this.#final;
    this.#raw.hidden = !any;
    this.#raw.setAttribute('aria-pressed', String(raw));
    const covered = raw || this.#final ? 0 : this.#renderedTo;
    if (covered !== this.#covered) this.#growing.cover(covered);
    this.#covered = covered;
    this.#live ||= reply.state === 'running';
    if (raw || !this.#live || !reply.reply || this.#asking || this.#final || reply.text === '') return;
    const ended = reply.state === 'done' || reply.state === 'stopped';
    const now = performance.now();
    if (!ended && (reply.state !== 'running' || now - this.#askedAt < EVERY_MS)) return;
    const to = ended ? reply.text.length + 1 : finished(reply.text, this.#renderedTo);
    if (to <= this.#askedTo || to === 0) return;
    this.#askedTo = to;
    this.#askedAt = now;
    this.#ask(reply, ended);
  }

  /** @param {Reply} reply @param {boolean} ended */
  async #ask(reply, ended) {
    this.#asking = true;
    const answer = await this.#deeds.render(reply.reply ?? '');
    this.#asking = false;
    if (reply.key === this.#key) {
      if (answer === 'never') this.#askedTo = Infinity;
      else if (answer === 'later') this.#askAgain();
      else {
        this.#tries = 0;
        this.#show(answer.html, ended);
        if (ended) this.#deeds.keepHTML(reply.id, answer.html);
      }
    }
    this.#redrawMarkdown();
  }

  #redrawMarkdown() {
    if (this.#reply) this.#drawMarkdown(this.#reply, this.#asWritten);
  }

  #askAgain() {
    if (this.#tries === TRIES) return;
    const key = this.#key;
    setTimeout(() => {
      if (key !== this.#key || !this.#element.isConnected) return;
      this.#askedTo = -1;
      this.#redrawMarkdown();
    }, EVERY_MS * 2 ** this.#tries++);
  }

  /**
   * Shows what the service rendered. Each block says by `data-end` to which position of the text it goes. The last of an
   * unfinished reply may yet become another thing, and the service may be further than this page: such text is left as it is.
   *
   * @param {string} html
   * @param {boolean} ended
   */
  #show(html, ended) {
    let blocks = [...new DOMParser().parseFromString(html, 'text/html').body.children];
    if (!ended) {
      const { text = '', position = 0 } = this.#reply ?? {};
      blocks = blocks.slice(0, -1).filter((block) => Number(block.getAttribute('data-end') ?? Infinity) <= position);
      this.#renderedTo = indexOf(text, Number(blocks.at(-1)?.getAttribute('data-end') ?? 0));
    }
    this.#final = ended;
    // What stays the same stays in place: it may be selected, or scrolled sideways, and need not be laid out anew.
    const sources = blocks.map((block) => block.outerHTML);
    const different = sources.findIndex((source, i) => source !== this.#blocks[i]);
    const same = different < 0 ? sources.length : different;
    for (const gone of [...this.#rendered.children].slice(same)) gone.remove();
    this.#blocks = sources;
    const added = document.createDocumentFragment();
    added.append(...blocks.slice(same));
    this.#prepare(added);
    this.#rendered.append(added);
  }

  /** Gives blocks what is to be pressed in them. @param {DocumentFragment} blocks */
  #prepare(blocks) {
    for (const pre of blocks.querySelectorAll('pre')) {
      const frame = document.createElement('div');
      frame.className = 'code';
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = this.#words('copy');
      button.addEventListener('click', () => copy(button, pre.textContent ?? '', this.#words));
      pre.replaceWith(frame);
      frame.append(pre, button);
    }
    // What is too wide scrolls sideways; a keyboard must be able to do that too.
    for (const wide of /** @type {NodeListOf<HTMLElement>} */ (blocks.querySelectorAll('pre, table'))) {
      wide.tabIndex = 0;
    }
  }
}

/**
 * @param {HTMLButtonElement} button
 * @param {string} text
 * @param {Words} words
 */
async function copy(button, text, words) {
  const before = words('copy');
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = words('copied');
  } catch {
    button.textContent = words('copy-failed');
  }
  setTimeout(() => (button.textContent = before), 2000);
}
