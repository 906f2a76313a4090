/**
 * The view of what a running reply waits for: a line in the place where its text goes on, or a card that counts down.
 *
 * A screen reader says each reason once a reply, and never the seconds that pass: silence only after a while, and only
 * before anything has come.
 *
 * @import { Reply } from './conversation.js'
 * @import { Status } from './current-status.js'
 * @import { Translate } from './translate.js'
 */
import { find, say, setText } from './elements.js';
import { hasArrived } from './ending.js';
import { durationText } from './translate.js';
import { SILENCE_MS, waitingOf } from './waiting.js';

/** How long a model may be silent before a screen reader says so. */
const SAID_AFTER_S = 5;
/** The time between two looks at a countdown, so that each second is seen. */
const COUNTDOWN_MS = 250;

/** The view of what the running reply waits for; there is at most one. */
export class WaitingView {
  #translate;
  #element = document.createElement('p');
  /** @type {{reply: Reply, article: HTMLElement, status: Status} | null} */
  #last = null;
  /** The attempt at a reply, and the keys of the sentences that were said of it. */
  #said = { attempt: '', keys: new Set() };
  #timer = 0;

  /** @param {Translate} translate */
  constructor(translate) {
    this.#translate = translate;
    this.#element.className = 'waiting';
  }

  /**
   * Draw what a reply waits for now, and go on doing so as time passes.
   *
   * @param {Reply} reply the one that runs
   * @param {HTMLElement} article where it is shown
   * @param {Status} status
   */
  draw(reply, article, status) {
    this.#last = { reply, article, status };
    this.#redraw();
  }

  /** Remove it: no reply runs. */
  clear() {
    this.#last = null;
    this.#element.remove();
  }

  #redraw() {
    if (!this.#last) return;
    const { reply, article, status } = this.#last;
    const waiting = waitingOf(reply, status, performance.now());
    if (!waiting) this.#element.remove();
    else {
      const { kind, key, seconds } = waiting;
      this.#element.dataset['kind'] = kind;
      this.#element.classList.toggle('card', kind === 'service');
      setText(this.#element, this.#translate(key, { time: durationText(seconds, this.#translate) }));
      if (!this.#element.isConnected || this.#element.closest('article') !== article) {
        find('.text', HTMLElement, article).after(this.#element);
      }
      const patient = kind === 'model' && (seconds < SAID_AFTER_S || hasArrived(reply));
      if (!patient) {
        const sentence = kind === 'model' ? this.#translate('said.waiting') : this.#element.textContent ?? '';
        this.#sayOnce(`${reply.id} ${reply.key}`, key, sentence);
      }
    }
    // A timer a character would be costly, so the one that runs goes on, and looks again when it is due.
    if (this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#redraw();
    }, waiting && waiting.kind !== 'model' ? COUNTDOWN_MS : this.#untilNextSecond(status));
  }

  /** @param {Status} status @returns {number} milliseconds until the silence has lasted for another second */
  #untilNextSecond({ heardAt }) {
    return SILENCE_MS - (heardAt === null ? 0 : (performance.now() - heardAt) % 1000);
  }

  /** @param {string} attempt @param {string} key @param {string} sentence */
  #sayOnce(attempt, key, sentence) {
    if (this.#said.attempt !== attempt) this.#said = { attempt, keys: new Set() };
    if (this.#said.keys.has(key)) return;
    this.#said.keys.add(key);
    say(sentence);
  }
}
