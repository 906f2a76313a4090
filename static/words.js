/**
 * The page's words, which the server chose by language and put into the document.
 *
 * @typedef {(key: string, values?: Record<string, string | number>) => string} Words
 */

/**
 * @param {Record<string, string>} strings
 * @returns {Words}
 */
export function words(strings) {
  return (key, values = {}) => {
    const sentence = strings[key];
    if (sentence === undefined) throw new Error(`no words for ${key}`);
    return sentence.replace(/\{(\w+)\}/g, (all, name) => String(values[name] ?? all));
  };
}

/** The codes of PROTOCOL.md section 6 that the page has a sentence of its own for. */
const KNOWN = new Set([
  'too-many-requests', 'overloaded', 'draining', 'store-unavailable', 'reply-not-found', 'reply-expired', 'too-large',
  'unauthorized', 'forbidden-origin', 'backend-failed', 'cursor-past-end',
]);

/** @param {string} code @returns {string} the key of the sentence that says what to do */
export function problemKey(code) {
  return `problem.${KNOWN.has(code) ? code : 'other'}`;
}
