/**
 * The long-poll transport: whole small answers, which pass through anything that lets a page through
 * (PROTOCOL.md section 2).
 *
 * @import { Transport } from './transport.js'
 */
import { readSnapshot } from './snapshot.js';

/** How long one poll waits for text: less than the service's limit of 30 s and common idle time-outs of proxies. */
const WAIT_S = 20;

/** The transport that polls. @type {Transport} */
export const poll = {
  name: 'poll',
  renders: false,
  async read(target, emit, signal) {
    for (let next = target, ended = false; !ended; ) {
      // The request that starts a reply does not wait: it would delay the first characters until there are more.
      ({ target: next, ended } = await readSnapshot(next, emit, signal, next.reply ? WAIT_S : 0));
    }
  },
};
