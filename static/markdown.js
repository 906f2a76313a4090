/**
 * The short request for a reply as HTML, for transports that don't bring its rendered blocks. The service renders the
 * Markdown and makes the HTML safe (PROTOCOL.md section 2).
 *
 * @typedef {{type: 'html', html: string} | {type: 'unavailable'} | {type: 'failed'}} Rendering
 *   The outcome of a request for a reply's HTML. `unavailable`: the service cannot render this reply, so asking
 *   again is of no use; `failed`: another request may succeed.
 */

/** The least time between two requests for the HTML of a reply that grows. */
export const RENDER_INTERVAL_MS = 1000;
/**
 * How long rendered blocks that come with the text may stay out. Then the node may be of an older version, which sends
 * none. Where rendering is dear the service itself leaves some seconds between two.
 */
export const BLOCKS_TIMEOUT_MS = 10_000;

/**
 * The statuses that no later attempt changes: the reply is unknown or no longer kept (404, 410), or the
 * service does not render at all (405, 406, 415).
 */
const UNAVAILABLE_STATUSES = [404, 405, 406, 410, 415];

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
