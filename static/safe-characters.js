/**
 * The characters that a page may draw behind a rendered block before the next rendering has come, because they mean only
 * themselves in Markdown (PROTOCOL.md section 4). Pure. The service has the same rule, in
 * `chatsvc/rendering/safe_characters.py`.
 */

/** Characters of text. Some depend on those beside them: a lone space, a dot that ends no `www.`, a `!` before no `[`. */
const TEXT = new RegExp([
  String.raw`[\p{L}\p{M}\p{N}\u200d,;'")?%@+\-=\{\}:>^]`,
  String.raw`(?![\0-\x7f])[\p{P}\p{S}]`,
  String.raw`(?<![wW])\.`,
  String.raw`(?<![:\/])\/`,
  String.raw`(?<!\])\(`,
  String.raw`!(?=[^\[])`,
  String.raw`(?<![ \n]) (?=[^ \n])`,
].map((one) => `(?:${one})`).join('|').replace(/^.*$/s, '(?:$&)*'), 'uy');
/** Characters of code. */
const CODE = /(?:[^\n`~\t\p{C}]|\u200d)*/uy;

/**
 * Return how much of a text may be drawn from a place on.
 *
 * @param {string} text
 * @param {number} start a UTF-16 index
 * @param {boolean} inCode whether the rendered block ends within code
 * @returns {number} a number of UTF-16 units
 */
export function safeLength(text, start, inCode) {
  const pattern = inCode ? CODE : TEXT;
  pattern.lastIndex = start;
  return pattern.exec(text)?.[0].length ?? 0;
}
