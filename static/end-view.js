/**
 * The view of a reply's end: one card, with what is said of the end, the one action that helps, and the details, which
 * unfold. A complete reply has no card; if it has details, they stand alone.
 *
 * @import { Reply } from './conversation.js'
 * @import { EndAction } from './ending.js'
 * @import { Translate } from './translate.js'
 */
import { find, setText } from './elements.js';
import { endingOf } from './ending.js';

/** The actions that a reply behind which the conversation went on still has: they read on in it. */
const ACTIONS_OF_ANY = new Set(['resume', 'sign-in']);

/** The view of one reply's end, in the elements of `#reply-template`. */
export class EndView {
  #translate;
  #card;
  #sentence;
  #words;
  #button;
  /** The link to the form for signing in; null where the service has none. @type {HTMLElement | null} */
  #signIn;
  #details;
  #switches;
  #detail;
  #code;
  /** What a click on the button does. @type {EndAction | null} */
  #action = null;

  /**
   * @param {HTMLElement} element of the reply
   * @param {Translate} translate
   * @param {(action: EndAction) => void} act does what the button offers
   */
  constructor(element, translate, act) {
    this.#translate = translate;
    this.#card = find('.end', HTMLElement, element);
    this.#sentence = find('.problem', HTMLElement, this.#card);
    this.#words = find('.words', HTMLElement, this.#card);
    this.#button = find('button', HTMLButtonElement, this.#card);
    this.#signIn = this.#card.querySelector('.sign-in');
    this.#details = find('details', HTMLDetailsElement, this.#card);
    this.#switches = find('.notes', HTMLElement, this.#card);
    this.#detail = find('.detail', HTMLElement, this.#card);
    this.#code = find('.problem-code', HTMLElement, this.#card);
    this.#button.addEventListener('click', () => this.#action && act(this.#action));
  }

  /**
   * Draw the end of a reply.
   *
   * @param {Reply} reply
   * @param {boolean} last whether it is the last entry, and no reply runs, so that it may be asked for anew
   * @returns {boolean} whether there is something to be said of the end
   */
  draw(reply, last) {
    const translate = this.#translate;
    const ending = endingOf(reply);
    const { words = '', detail = '', code = '' } = ending ?? {};
    setText(this.#sentence, ending ? translate(ending.key) : '');
    this.#sentence.hidden = !ending;
    setText(this.#words, words);
    this.#words.hidden = words === '';
    const offered = ending && (last || ACTIONS_OF_ANY.has(ending.action ?? '')) ? ending.action : null;
    this.#offer(offered, reply);
    setText(this.#switches, reply.switches
      .map(({ from, to, reason }) => translate('switched', {
        from: translate(`transport.${from}`), to: translate(`transport.${to}`), reason: translate(`reason.${reason}`),
      }))
      .join(' '));
    setText(this.#detail, detail);
    setText(this.#code, code);
    this.#details.hidden = !(reply.switches.length || detail || code);
    this.#card.classList.toggle('card', ending !== null);
    this.#card.hidden = reply.state === 'running' || (!ending && this.#details.hidden);
    return ending !== null;
  }

  /** @param {EndAction | null} action @param {Reply} reply */
  #offer(action, { problem }) {
    const signsIn = action === 'sign-in' && this.#signIn !== null;
    // Where others sign people in, it is enough to read on once they have.
    this.#action = action === 'sign-in' ? 'resume' : action;
    if (this.#signIn) this.#signIn.hidden = !signsIn;
    this.#button.hidden = !this.#action || signsIn;
    this.#button.className = this.#button.hidden ? 'act' : `act ${this.#action}`;
    // Nobody waits for the end of what was refused: to read on is to try again.
    const label = this.#action === 'resume' && problem ? 'retry' : this.#action;
    setText(this.#button, this.#button.hidden ? '' : this.#translate(`act.${label}`));
  }
}
