/**
 * The bare characters of a chunked `text/plain`. Nothing in it says how the reply ended, nor whether a proxy cut it in a
 * way that looks complete, so the service is asked at the end.
 *
 * @import { Transport } from './transport.js'
 */
import { codePoints } from '../position.js';
import { snapshot } from './poll.js';
import { Broken, request } from './transport.js';

/** @type {Transport} */
export const text = {
  name: 'text',
  async read(target, see, signal) {
    const response = await request(target, 'text/plain', signal);
    if (response.status === 204) {
      // Nothing is left of the text; how it ended, a snapshot tells.
      await snapshot(target, see, signal, 0);
      return;
    }
    const reply = response.headers.get('X-Reply-Id');
    if (!response.body || !reply) throw new Broken('not a reply');
    see({ type: 'headers', reply });
    let after = target.after;
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    const reader = response.body.getReader();
    try {
      for (let read = await reader.read(); !read.done; read = await reader.read()) {
        see({ type: 'alive', stamps: [] });
        const piece = decoder.decode(read.value, { stream: true });
        if (!piece) continue;
        after += codePoints(piece);
        see({ type: 'text', text: piece, to: after });
      }
    } catch (error) {
      if (signal.aborted) throw error;
      // A failed reply aborts its body too: the answer below tells it from a broken connection.
    } finally {
      reader.cancel().catch(() => {});
    }
    await snapshot({ ...target, reply, after }, see, signal, 0);
  },
};
