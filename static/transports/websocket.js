/**
 * The transport of JSON frames in the WebSocket subprotocol `chatsvc.v2`, or `chatsvc.v1` with nodes of an
 * older version (PROTOCOL.md section 4). A socket is opened for one reading and closed behind it, so nothing
 * stays open while nothing streams.
 *
 * @import { Transport } from './transport.js'
 */
import { parseCursor } from '../position.js';
import { CODE_OF_CLOSE, parseProblem, Problem } from '../problems.js';
import { renderRequest } from './http.js';
import { readSnapshot } from './snapshot.js';
import { EventInterpreter } from './stream-events.js';
import { TransportError } from './transport.js';

/** The WebSocket close code of a normal end (RFC 6455 section 7.4.1). */
const NORMAL_CLOSURE = 1000;
/** The subprotocol of all parts of a reply, by offset. */
const PARTS_SUBPROTOCOL = 'chatsvc.v2';
/** The subprotocol of the answer's characters, by position, of nodes that don't know the other. */
const CHARACTERS_SUBPROTOCOL = 'chatsvc.v1';

/** The transport that reads over a WebSocket. @type {Transport} */
export const websocket = {
  name: 'websocket',
  renders: true,
  read(target, emit, signal) {
    const { base, place, start } = target;
    let { reply } = target;
    const url = new URL('ws/chat', base);
    url.protocol = url.protocol.replace('http', 'ws');
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url, [PARTS_SUBPROTOCOL, CHARACTERS_SUBPROTOCOL]);
      const events = new EventInterpreter(emit);
      let opened = false;
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
        opened = true;
        emit({ type: 'headers', reply: null });
        const parts = socket.protocol === PARTS_SUBPROTOCOL;
        const request = reply
          ? { read: reply, after: parts ? `@${place.offset}` : place.position }
          : { ...JSON.parse(start?.body ?? '{}'), key: start?.key };
        socket.send(JSON.stringify(parts ? { ...request, ...renderRequest(target) } : request));
      };
      socket.onmessage = ({ data }) => {
        let frame;
        try {
          frame = JSON.parse(data);
        } catch {
          finish(() => reject(new TransportError('not a frame')));
          return;
        }
        const id = typeof frame.id === 'string' ? frame.id : '';
        const cursor = parseCursor(id);
        if (!reply && cursor) {
          reply = cursor.reply;
          emit({ type: 'headers', reply });
        }
        emit({ type: 'alive', stamps: [] });
        if (frame.event === 'failed' && !cursor) {
          // Without a position it is no event of the reply: the service refuses to start the reply, or to read it.
          finish(() => reject(new Problem(parseProblem(frame.data) ?? { type: 'about:blank' })));
          return;
        }
        events.receive(frame.event ?? 'message', id, frame.data);
        if (events.ended) finish(resolve);
      };
      socket.onclose = ({ code }) => {
        const problemCode = CODE_OF_CLOSE.get(code);
        finish(() => {
          if (problemCode) reject(new Problem({ type: problemCode }));
          else if (code === NORMAL_CLOSURE) resolve();
          else if (opened) reject(new TransportError(`closed with ${code}`));
          // `WebSocket` hides the status of an upgrade that failed, so a snapshot asks the service for its refusal. What
          // it brings is dropped: only what comes over the socket shows that sockets get through.
          else readSnapshot(target, () => {}, signal, 0).then(() => reject(new TransportError('no upgrade')), reject);
        });
      };
    });
  },
};
