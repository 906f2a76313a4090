/**
 * Rendered Markdown of a reply: when to ask the service for it, and what came. The HTML is made safe by the service.
 */

/** At most so often is a growing reply asked for. */
export const EVERY_MS = 1000;

/**
 * The index behind the last block of a text that is finished: a blank line that stands in no code fence ends one.
 *
 * @param {string} text
 * @param {number} [from] an index to which it is known to be finished
 * @returns {number} UTF-16 units
 */
export function finished(text, from = 0) {
  let fence = '';
  let end = from;
  let start = from;
  for (let stop = text.indexOf('\n', start); stop >= 0; stop = text.indexOf('\n', start)) {
    const line = text.slice(start, stop);
    start = stop + 1;
    const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1] ?? '';
    if (fence) {
      if (mark.startsWith(fence) && line.trim() === mark) {
        fence = '';
        end = start;
      }
    } else if (mark) fence = mark;
    else if (line.trim() === '') end = start;
  }
  return end;
}

/**
 * Asks for a reply as HTML.
 *
 * @param {URL} base
 * @param {string} reply
 * @returns {Promise<{html: string} | 'never' | 'later'>} `never`: there is none of this reply
 */
export async function rendered(base, reply) {
  try {
    const response = await fetch(new URL(`api/chat/${reply}`, base), { headers: { Accept: 'text/html' }, cache: 'no-store' });
    if ([404, 405, 406, 410, 415].includes(response.status)) {
      await response.body?.cancel();
      return 'never';
    }
    const html = await response.text();
    const isHTML = response.headers.get('Content-Type')?.startsWith('text/html');
    return response.ok && isHTML ? { html } : 'later';
  } catch {
    return 'later';
  }
}
