/**
 * The `chatsvc.v1` subprotocol: the same events as JSON frames (PROTOCOL.md section 4).
 *
 * The socket lives as long as the reply: nothing stays open while nothing is streaming.
 *
 * @import { Transport } from './transport.js'
 */
import { parseCursor } from '../position.js';
import { ReplyEvents } from './stream-events.js';
import { asProblem, Broken, Problem } from './transport.js';

/** Close codes of PROTOCOL.md section 6 that say more than "broken": the problem each stands for. */
const CODES = new Map([
  [1003, 'unsupported-media-type'],
  [1007, 'bad-json'],
  [1009, 'too-large'],
  [1012, 'draining'],
  [1013, 'overloaded'],
  [4404, 'reply-not-found'],
  [4409, 'cursor-past-end'],
  [4410, 'reply-expired'],
  [4422, 'invalid-request'],
  [4429, 'too-many-requests'],
  [4502, 'backend-failed'],
]);

/** @type {Transport} */
export const websocket = {
  name: 'websocket',
  read({ base, reply, after, start }, see, signal) {
    const url = new URL('ws/chat', base);
    url.protocol = url.protocol.replace('http', 'ws');
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url, 'chatsvc.v1');
      const events = new ReplyEvents(see);
      /** @param {() => void} settle */
      const finish = (settle) => {
        signal.removeEventListener('abort', abort);
        socket.onclose = socket.onmessage = null;
        socket.close();
        settle();
      };
      const abort = () => finish(() => reject(signal.reason));
      signal.addEventListener('abort', abort);

      socket.onopen = () => {
        see({ type: 'headers', reply: null });
        socket.send(
          reply
            ? JSON.stringify({ read: reply, after })
            : JSON.stringify({ ...JSON.parse(start?.body ?? '{}'), key: start?.key }),
        );
      };
      socket.onmessage = ({ data }) => {
        let frame;
        try {
          frame = JSON.parse(data);
        } catch {
          finish(() => reject(new Broken('not a frame')));
          return;
        }
        const id = typeof frame.id === 'string' ? frame.id : '';
        const cursor = parseCursor(id);
        if (!reply && cursor) {
          reply = cursor.reply;
          see({ type: 'headers', reply });
        }
        see({ type: 'alive', stamps: [] });
        if (frame.event === 'failed' && !cursor) {
          // Without a cursor it is not the end of a reply but a refusal to start or to read one.
          finish(() => reject(new Problem(asProblem(frame.data) ?? { type: 'about:blank' })));
          return;
        }
        events.take(frame.event ?? 'message', id, frame.data);
        if (events.ended) finish(resolve);
      };
      socket.onclose = ({ code }) => {
        const type = CODES.get(code);
        finish(() => (type ? reject(new Problem({ type })) : code === 1000 ? resolve() : reject(new Broken(`closed with ${code}`))));
      };
    });
  },
};
