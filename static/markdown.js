/**
 * Replies rendered as HTML: how much of a text is ready for it, and the request for it. The service renders
 * the Markdown and makes the HTML safe (PROTOCOL.md section 2).
 *
 * @typedef {{type: 'html', html: string} | {type: 'unavailable'} | {type: 'failed'}} Rendering
 *   The outcome of a request for a reply's HTML. `unavailable`: the service cannot render this reply, so asking
 *   again is of no use; `failed`: another request may succeed.
 */

/** The least time between two requests for the HTML of a reply that grows. */
export const RENDER_INTERVAL_MS = 1000;

/**
 * The statuses that no later attempt changes: the reply is unknown or no longer kept (404, 410), or the
 * service does not render at all (405, 406, 415).
 */
const UNAVAILABLE_STATUSES = [404, 405, 406, 410, 415];

/**
 * Return where the finished Markdown blocks of a growing text end. A blank line outside a code fence ends a
 * block, and so does a fence's last line; what follows may still change its meaning.
 *
 * @param {string} text
 * @param {number} [from] where the blocks that are known to be finished end, so that they are not read again
 * @returns {number} a UTF-16 index
 */
export function finishedLength(text, from = 0) {
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
 * Ask the service for a reply as HTML. It never rejects.
 *
 * @param {URL} base where chatsvc is mounted
 * @param {string} reply the reply's id
 * @returns {Promise<Rendering>} the HTML of a whole document, as far as the reply has come
 */
export async function fetchRendering(base, reply) {
  try {
    const url = new URL(`api/chat/${reply}`, base);
    const response = await fetch(url, { headers: { Accept: 'text/html' }, cache: 'no-store' });
    if (UNAVAILABLE_STATUSES.includes(response.status)) {
      await response.body?.cancel();
      return { type: 'unavailable' };
    }
    const html = await response.text();
    const isHTML = response.headers.get('Content-Type')?.startsWith('text/html');
    return response.ok && isHTML ? { type: 'html', html } : { type: 'failed' };
  } catch {
    return { type: 'failed' };
  }
}
