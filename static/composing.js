/** Writing in the composer: its height, and the keys that belong to an input method. */

/** The most lines that the composer grows to; `chat.css` has the same limit as a height. */
const MAX_ROWS = 8;
/** The `keyCode` of a key that an input method takes (UI Events, "Keyboard event keyCode values"). */
const COMPOSITION_KEY_CODE = 229;

/**
 * Make a field as high as its text, in browsers whose style sheets cannot do it.
 *
 * @param {HTMLTextAreaElement} field
 */
export function fitToText(field) {
  if (CSS.supports('field-sizing', 'content')) return;
  const { paddingTop, paddingBottom, lineHeight } = getComputedStyle(field);
  field.rows = 1;
  const height = field.scrollHeight - parseFloat(paddingTop) - parseFloat(paddingBottom);
  field.rows = Math.max(1, Math.min(MAX_ROWS, Math.round(height / parseFloat(lineHeight))));
}

/**
 * Return whether a key belongs to an input method. Safari ends a composition before it fires the event of the key that
 * ended it; then only the key code shows it.
 *
 * @param {KeyboardEvent} event
 * @returns {boolean}
 */
export function isComposing(event) {
  return event.isComposing || event.keyCode === COMPOSITION_KEY_CODE;
}
