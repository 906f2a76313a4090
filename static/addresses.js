/** Addresses and names that a model chose, made safe to be shown and followed. Pure. */

/** The beginnings of `data:` addresses that are shown as images: formats that have neither scripts nor links. */
const SHOWN_IMAGE = /^data:image\/(?:png|jpeg|gif|webp|avif)[;,]/i;
/** Characters that a name must not have: what is not seen, or turns the direction of the text around it. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
/** The beginning of a name that is shown, up to 200 code points. */
const SHOWN_BEGINNING = /^.{0,200}/su;

/**
 * Return an address of the web that may be opened in another tab.
 *
 * @param {unknown} url
 * @returns {URL | null} null if it is not an absolute one with `http:` or `https:`
 */
export function webAddress(url) {
  if (typeof url !== 'string' || !/^https?:\/\//i.test(url) || !URL.canParse(url)) return null;
  return new URL(url);
}

/**
 * Return whether an address holds an image that the page may show.
 *
 * @param {unknown} url
 * @returns {url is string}
 */
export function isShownImage(url) {
  return typeof url === 'string' && SHOWN_IMAGE.test(url);
}

/**
 * Return whether an address holds a file's content.
 *
 * @param {unknown} url
 * @returns {url is string}
 */
export function isContent(url) {
  return typeof url === 'string' && /^data:/i.test(url);
}

/**
 * Return a name or a title without characters by which it could look like another one, cut to what a line may have.
 *
 * @param {unknown} name
 * @returns {string} empty if it is no text
 */
export function visibleName(name) {
  if (typeof name !== 'string') return '';
  const seen = name.replace(UNSEEN, '').trim();
  const [shown = ''] = SHOWN_BEGINNING.exec(seen) ?? [];
  return shown.length < seen.length ? `${shown}…` : shown;
}
