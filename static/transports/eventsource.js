/**
 * The browser's own `EventSource`. It can't POST, so a long poll that waits for nothing starts the reply.
 *
 * @import { Transport } from './transport.js'
 */
import { snapshot } from './poll.js';
import { ReplyEvents } from './stream-events.js';

/** @type {Transport} */
export const eventsource = {
  name: 'eventsource',
  async read(target, see, signal) {
    let at = target;
    if (!at.reply) {
      const started = await snapshot(at, see, signal, 0);
      if (started.ended) return;
      at = started.target;
    }
    const clean = await listen(new URL(`api/chat/${at.reply}?after=${at.after}`, at.base), see, signal);
    // The browser hides the status of a failed request, so the service is asked what is the matter. It is not left
    // to reconnect either: back-off and give-up are the same for all transports.
    if (!clean) await snapshot(at, see, signal, 0);
  },
};

/**
 * @param {URL} url
 * @param {(sight: import('./transport.js').Sight) => void} see
 * @param {AbortSignal} signal
 * @returns {Promise<boolean>} whether the stream was opened
 */
function listen(url, see, signal) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(url);
    const events = new ReplyEvents(see);
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
      see({ type: 'headers', reply: null });
    };
    /** @param {MessageEvent} message */
    const take = ({ type, lastEventId, data }) => {
      if (signal.aborted) return;
      see({ type: 'alive', stamps: [] });
      events.take(type, lastEventId, data);
      if (!events.ended) return;
      close();
      resolve(true);
    };
    for (const type of ['message', 'stopped', 'failed']) source.addEventListener(type, take);
    source.onerror = () => {
      close();
      resolve(opened);
    };
  });
}
