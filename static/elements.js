/** Look-up of the elements that the page's scripts rely on, and changes of them. */

/**
 * Return the element that a selector names, checked to be of a type, so that a mistake in the template
 * fails when the page loads and not at the first click.
 *
 * @template {Element} T
 * @param {string} selector
 * @param {new () => T} type the element's class, such as `HTMLButtonElement`
 * @param {ParentNode} [within] where to look; the document by default
 * @returns {T}
 * @throws {Error} when there is no such element, or it is of another type
 */
export function find(selector, type, within = document) {
  const element = within.querySelector(selector);
  if (!(element instanceof type)) throw new Error(`the page has no ${selector}`);
  return element;
}

/**
 * Have a screen reader say a sentence, whatever its user reads at the moment.
 *
 * @param {string} sentence
 */
export function say(sentence) {
  find('#said', HTMLElement).textContent = sentence;
}

/**
 * Set an element's text, but only if it differs: even the same text would be laid out anew.
 *
 * @param {HTMLElement} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
