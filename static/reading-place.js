/**
 * Where the reader is in the conversation, which scrolls under their eyes only when they ask for it.
 *
 * A question that is asked goes to the top, and its reply grows below it, past the edge of the view when it is long:
 * the reader scrolls on at their own speed. The button "To the end" goes there and has the view follow the end as it
 * moves, until the reader scrolls away. A page that is loaded shows the end, and follows it.
 */
import { find } from './elements.js';

/** A reader this near to the end of the conversation is there. In CSS pixels. */
const NEAR_END_PX = 60;
/** The room above a question at the top of the view: as much as above the first one. In rem. */
const ROOM_ABOVE_REM = 1.5;
/** The most of the view's height that a question takes; `chat.css` has the same share. */
const QUESTION_SHARE = 0.4;

/** The place of the reader in `#scroller`, with the button "To the end". */
export class ReadingPlace {
  #scroller = find('#scroller', HTMLElement);
  #log = find('#log', HTMLElement);
  #button = find('#to-end', HTMLButtonElement);
  #following = true;
  #atEnd = true;
  /** Where the view was when the end was shown last, and its height then, in CSS pixels. */
  #topAtEnd = 0;
  #height = -1;
  /** The question below which there is room for its reply. @type {HTMLElement | null} */
  #question = null;
  /** What stands below it. @type {Element | null} */
  #reply = null;
  #questionObserver = new ResizeObserver(() => this.#measureQuestion());
  /**
   * The uppermost entry in view and where it stood, in browsers that do not keep it there by themselves.
   *
   * @type {{element: Element, top: number} | null}
   */
  #anchor = null;

  /** @param {() => void} pressed called after the button has shown the end */
  constructor(pressed) {
    this.#button.addEventListener('click', () => {
      this.#following = true;
      this.#scrollToEnd();
      pressed();
    });
    // Asking for the place of the end after each change would have the page laid out once more.
    new IntersectionObserver((entries) => {
      this.#atEnd = entries.at(-1)?.isIntersecting ?? true;
      this.#button.hidden = this.#atEnd;
    }, { root: this.#scroller, rootMargin: `0px 0px ${NEAR_END_PX}px` }).observe(find('#end', HTMLElement));
    this.#scroller.addEventListener('scroll', () => {
      this.#keepAnchor();
      if (!this.#following || this.#isNearEnd()) return;
      // A screen keyboard that slides in, a smaller window, and old turns that are laid out now move the end away
      // although the reader did not scroll. Only a reader scrolls up.
      if (this.#scroller.scrollTop < this.#topAtEnd) this.#following = false;
      else this.#scrollToEnd();
    }, { passive: true });
    // Who unfolds something wants to read it: the view stays there if that moves the end away. The event does not bubble.
    this.#log.addEventListener('toggle', () => (this.#following &&= this.#isNearEnd()), true);
    // A screen keyboard must not cover the end for a reader who is there. The first call only tells the height.
    new ResizeObserver(() => {
      const wasThere = this.#height >= 0 && this.#isNearEnd(this.#height);
      this.#height = this.#scroller.clientHeight;
      if (wasThere) this.#scrollToEnd();
    }).observe(this.#scroller);
    if (!CSS.supports('overflow-anchor', 'auto')) new ResizeObserver(() => this.#restoreAnchor()).observe(this.#log);
  }

  /** Whether the end of the conversation is in view, or nearly. It is as of the last frame. */
  get atEnd() {
    return this.#atEnd;
  }

  /**
   * Keep room below the last question for its reply.
   *
   * @param {HTMLElement | null} question null if the conversation has none
   */
  setQuestion(question) {
    const reply = question?.nextElementSibling ?? null;
    if (question === this.#question && reply === this.#reply) return;
    this.#questionObserver.disconnect();
    this.#question = question;
    this.#reply = reply;
    if (!question) return;
    this.#measureQuestion();
    this.#questionObserver.observe(question);
  }

  /** Show the last question at the top, or the end of it if it is a long one, and stay there. */
  showQuestion() {
    if (!this.#question) return;
    this.#following = false;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const { clientHeight } = this.#scroller;
    const hidden = Math.max(0, this.#question.offsetHeight - clientHeight * QUESTION_SHARE);
    const top = this.#question.getBoundingClientRect().top - this.#scroller.getBoundingClientRect().top;
    this.#scroller.scrollTop += top + hidden - ROOM_ABOVE_REM * rem;
    this.#keepAnchor();
  }

  /** Show an element at the top, and stay there. @param {HTMLElement} element */
  show(element) {
    this.#following = false;
    element.scrollIntoView({ block: 'start' });
    this.#keepAnchor();
  }

  /** Follow the end, after something was drawn. */
  drawn() {
    if (this.#following) this.#scrollToEnd();
  }

  /** Tell the reply, and no other element: the styles of all that stands in one that is told are computed anew. */
  #measureQuestion() {
    if (!this.#question || !(this.#reply instanceof HTMLElement)) return;
    this.#reply.style.setProperty('--question-height', `${this.#question.offsetHeight}px`);
  }

  /** Remember what stands at the top of the view now. */
  #keepAnchor() {
    if (CSS.supports('overflow-anchor', 'auto')) return;
    const edge = this.#scroller.getBoundingClientRect().top;
    const element = [...this.#log.children].findLast((entry) => entry.getBoundingClientRect().top <= edge);
    this.#anchor = element ? { element, top: element.getBoundingClientRect().top } : null;
  }

  /** Move the view with what stood at its top, when something above that has changed its height. */
  #restoreAnchor() {
    const { element, top } = this.#anchor ?? {};
    if (this.#following || !element?.isConnected || top === undefined) return;
    this.#scroller.scrollTop += element.getBoundingClientRect().top - top;
  }

  #isNearEnd(height = this.#scroller.clientHeight) {
    const { scrollTop, scrollHeight } = this.#scroller;
    return scrollHeight - scrollTop - height < NEAR_END_PX;
  }

  #scrollToEnd() {
    const scroller = this.#scroller;
    scroller.scrollTop = scroller.scrollHeight;
    this.#topAtEnd = scroller.scrollTop;
    this.#keepAnchor();
  }
}
