/**
 * The page's sentences, which the server translated and put into the document. Pure.
 */

/**
 * A function that returns the sentence of a key, with `{name}` replaced by the value of that name.
 * It throws an `Error` when there is no such key.
 *
 * @typedef {(key: string, values?: Record<string, string | number>) => string} Translate
 */

/**
 * Return the function that translates by a table of sentences.
 *
 * @param {Record<string, string>} strings the sentences of one language by key, from the element `#page`
 * @returns {Translate}
 */
export function createTranslate(strings) {
  return (key, values = {}) => {
    const sentence = strings[key];
    if (sentence === undefined) throw new Error(`no sentence for ${key}`);
    return sentence.replace(/\{(\w+)\}/g, (all, name) => String(values[name] ?? all));
  };
}

/**
 * Return a duration in words, such as `5 s` or `1 min 20 s`.
 *
 * @param {number} seconds a whole number of them
 * @param {Translate} translate
 * @returns {string}
 */
export function durationText(seconds, translate) {
  const minutes = Math.floor(seconds / 60);
  const values = { minutes, seconds: seconds % 60 };
  return minutes ? translate('time.minutes', values) : translate('time.seconds', values);
}

/** The codes of PROTOCOL.md section 6 for which the page has a sentence of its own. */
export const EXPLAINED_CODES = new Set([
  'too-many-requests', 'overloaded', 'draining', 'store-unavailable', 'reply-not-found', 'reply-expired', 'too-large',
  'unauthorized', 'forbidden', 'forbidden-origin', 'misdirected-request', 'backend-failed', 'cursor-past-end',
  'internal-error',
]);

/**
 * The reasons of `backend-failed` (PROTOCOL.md section 6) for which the page has a sentence of their own. Any other,
 * and none, get that of the code.
 */
export const EXPLAINED_REASONS = new Set(['busy', 'refused', 'misconfigured']);

/**
 * Return the key of the sentence that explains a problem and says what to do.
 *
 * @param {string} code of PROTOCOL.md section 6; any other gets the general sentence
 * @param {string} [reason] of `backend-failed`
 * @returns {string}
 */
export function problemKey(code, reason = '') {
  if (code === 'backend-failed' && EXPLAINED_REASONS.has(reason)) return `problem.backend-failed.${reason}`;
  return `problem.${EXPLAINED_CODES.has(code) ? code : 'other'}`;
}
