/**
 * The transport of bare characters in a chunked `text/plain` body (PROTOCOL.md section 2). The body does
 * not say how the reply ended, and a proxy may cut it so that it looks complete, so one snapshot is read
 * behind it. That brings the side parts as well, which the text lacks.
 *
 * @import { Transport } from './transport.js'
 */
import { countCodePoints } from '../position.js';
import { requestReply } from './http.js';
import { readSnapshot } from './snapshot.js';
import { TransportError } from './transport.js';

/** The transport that reads plain text. @type {Transport} */
export const text = {
  name: 'text',
  renders: false,
  async read(target, emit, signal) {
    const { response } = await requestReply({ ...target, characters: true }, 'text/plain', signal);
    if (response.status === 204) {
      // The position is the end's, and a 204 does not say how the reply ended; a snapshot may.
      await readSnapshot(target, emit, signal, 0);
      return;
    }
    const reply = response.headers.get('X-Reply-Id');
    if (!response.body || !reply) throw new TransportError('not a reply');
    emit({ type: 'headers', reply });
    let { position } = target.place;
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    const reader = response.body.getReader();
    try {
      for (let read = await reader.read(); !read.done; read = await reader.read()) {
        emit({ type: 'alive', stamps: [] });
        const piece = decoder.decode(read.value, { stream: true });
        if (!piece) continue;
        position += countCodePoints(piece);
        emit({ type: 'text', text: piece, position });
      }
    } catch (error) {
      if (signal.aborted) throw error;
      // A failed reply aborts its body just as a broken connection does; the snapshot below tells them apart.
    } finally {
      reader.cancel().catch(() => {});
    }
    await readSnapshot({ ...target, reply, place: { ...target.place, position } }, emit, signal, 0);
  },
};
