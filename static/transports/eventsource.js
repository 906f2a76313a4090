/**
 * The transport of the browser's own `EventSource` (PROTOCOL.md section 3). It can only GET, so a
 * snapshot that waits for nothing starts the reply.
 *
 * @import { Emit, Target, Transport } from './transport.js'
 */
import { renderRequest, setQuery } from './http.js';
import { readSnapshot } from './snapshot.js';
import { EventInterpreter } from './stream-events.js';

/** The transport that reads an event stream with `EventSource`. @type {Transport} */
export const eventsource = {
  name: 'eventsource',
  renders: true,
  async read(target, emit, signal) {
    let next = target;
    if (!next.reply) {
      const started = await readSnapshot(next, emit, signal, 0);
      if (started.ended) return;
      next = started.target;
    }
    if (await listen(addressOf(next), emit, signal)) return;
    // `EventSource` hides the status of a request that failed, so a snapshot asks the service for its refusal.
    const { target: asked, ended } = await readSnapshot(next, emit, signal, 0);
    // A node of an older version refuses an offset.
    if (!ended && asked.characters && !next.characters) await listen(addressOf(asked), emit, signal);
  },
};

/** @param {Target} target @returns {URL} */
function addressOf(target) {
  const { base, reply, place, characters } = target;
  const url = new URL(`api/chat/${reply}`, base);
  setQuery(url, characters
    ? { after: place.position }
    : { view: 'parts', ...renderRequest(target), after: `@${place.offset}` });
  return url;
}

/**
 * Read one event stream. The source is closed at the first error, so that it never reconnects by itself:
 * back-off and giving up are the same for all transports.
 *
 * @param {URL} url
 * @param {Emit} emit
 * @param {AbortSignal} signal
 * @returns {Promise<boolean>} whether the stream was opened
 */
function listen(url, emit, signal) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(url);
    const events = new EventInterpreter(emit);
    let opened = false;
    const close = () => {
      source.close();
      signal.removeEventListener('abort', abort);
    };
    const abort = () => {
      close();
      reject(signal.reason);
    };
    signal.addEventListener('abort', abort);
    source.onopen = () => {
      opened = true;
      emit({ type: 'headers', reply: null });
    };
    /** @param {MessageEvent} message */
    const receive = ({ type, lastEventId, data }) => {
      if (signal.aborted) return;
      emit({ type: 'alive', stamps: [] });
      events.receive(type, lastEventId, data);
      if (!events.ended) return;
      close();
      resolve(true);
    };
    for (const type of ['message', 'stopped', 'failed']) source.addEventListener(type, receive);
    source.onerror = () => {
      close();
      resolve(opened);
    };
  });
}
