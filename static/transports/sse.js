/**
 * The transport of server-sent events read with `fetch`. Unlike `EventSource` it can start a reply with
 * a POST, and it sees the comments that show whether a proxy buffers (PROTOCOL.md section 3).
 *
 * @import { Transport } from './transport.js'
 */
import { EventStreamParser } from '../event-stream.js';
import { parseCursor } from '../position.js';
import { EVENT_STREAM, requestReply } from './http.js';
import { readSnapshot } from './snapshot.js';
import { EventInterpreter } from './stream-events.js';
import { TransportError } from './transport.js';

/** The transport that reads an event stream with `fetch`. @type {Transport} */
export const sse = {
  name: 'sse',
  renders: true,
  async read(target, emit, signal) {
    const { response } = await requestReply(target, EVENT_STREAM, signal);
    if (response.status === 204) {
      // The position is the end's, and a 204 does not say how the reply ended; a snapshot may.
      await readSnapshot(target, emit, signal, 0);
      return;
    }
    if (!response.body || !response.headers.get('Content-Type')?.startsWith(EVENT_STREAM)) {
      throw new TransportError('not an event stream');
    }
    let reply = response.headers.get('X-Reply-Id') ?? target.reply;
    emit({ type: 'headers', reply });
    const parser = new EventStreamParser();
    const events = new EventInterpreter(emit);
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    try {
      for (let read = await reader.read(); !read.done; read = await reader.read()) {
        const stamps = [];
        for (const item of parser.push(decoder.decode(read.value, { stream: true }))) {
          if (item.type === 'event') {
            if (!reply) {
              // Some proxies drop headers that they do not know. The first event's id names the reply too.
              reply = parseCursor(item.id)?.reply ?? null;
              emit({ type: 'headers', reply });
            }
            events.receive(item.event, item.id, item.data);
          } else if (item.type === 'retry') emit(item);
          else if (item.comment.startsWith('t=')) stamps.push(Number(item.comment.slice(2)));
        }
        emit({ type: 'alive', stamps });
        if (events.ended) return;
      }
    } finally {
      // A body that is not read to its end keeps its connection, and a browser has only six for one host,
      // which all tabs share.
      reader.cancel().catch(() => {});
    }
  },
};
