/** Buttons that copy a text, and say what came of it. */
import { say } from './elements.js';

/** How long a button says what came of it. */
const COPIED_MS = 2000;

/**
 * Have a button copy a text at each click. Its name says what it copies. When it has, it shows a tick, and a
 * screen reader says so. A browser may refuse, for one on a page over plain http: the button then says what to do
 * instead, so that all can read it.
 *
 * @param {HTMLButtonElement} button
 * @param {() => string} text returns the text as it is at the click
 * @param {import('./translate.js').Translate} translate
 */
export function copyOnClick(button, text, translate) {
  let timer = 0;
  button.addEventListener('click', async () => {
    /** @type {'copied' | 'copy-failed'} */
    let outcome = 'copied';
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      outcome = 'copy-failed';
    }
    button.dataset['outcome'] = outcome;
    button.dataset['says'] = translate(outcome);
    say(translate(outcome));
    clearTimeout(timer);
    timer = setTimeout(() => {
      delete button.dataset['outcome'];
      delete button.dataset['says'];
    }, COPIED_MS);
  });
}
