/**
 * Server-sent events read by `fetch`: a POST can start the reply, and the comments, which `EventSource` hides, tell when a
 * proxy buffers (PROTOCOL.md section 3).
 *
 * @import { Transport } from './transport.js'
 */
import { EventStreamParser } from '../event-stream.js';
import { parseCursor } from '../position.js';
import { ReplyEvents } from './stream-events.js';
import { Broken, request } from './transport.js';
import { snapshot } from './poll.js';

/** @type {Transport} */
export const sse = {
  name: 'sse',
  async read(target, see, signal) {
    const response = await request(target, 'text/event-stream', signal);
    if (response.status === 204) {
      // Nothing is left of the text; how it ended, a snapshot tells.
      await snapshot(target, see, signal, 0);
      return;
    }
    if (!response.body || !response.headers.get('Content-Type')?.startsWith('text/event-stream')) {
      throw new Broken('not an event stream');
    }
    let reply = response.headers.get('X-Reply-Id') ?? target.reply;
    see({ type: 'headers', reply });
    const parser = new EventStreamParser();
    const events = new ReplyEvents(see);
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    try {
      for (let read = await reader.read(); !read.done; read = await reader.read()) {
        const stamps = [];
        for (const item of parser.push(decoder.decode(read.value, { stream: true }))) {
          if (item.type === 'event') {
            if (!reply) {
              // Something between may give on no header that it does not know.
              reply = parseCursor(item.id)?.reply ?? null;
              see({ type: 'headers', reply });
            }
            events.take(item.event, item.id, item.data);
          } else if (item.type === 'retry') see(item);
          else if (item.comment.startsWith('t=')) stamps.push(Number(item.comment.slice(2)));
        }
        see({ type: 'alive', stamps });
        if (events.ended) return;
      }
    } finally {
      // Whoever has seen the end needs no more of the body; a connection left open would be missed by other tabs.
      reader.cancel().catch(() => {});
    }
  },
};
