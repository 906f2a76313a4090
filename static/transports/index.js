/**
 * The table of transports. Another one is one file and one line here.
 *
 * @import { Transport, TransportName } from './transport.js'
 */
import { eventsource } from './eventsource.js';
import { poll } from './poll.js';
import { sse } from './sse.js';
import { text } from './text.js';
import { websocket } from './websocket.js';

/** @type {Readonly<Record<TransportName, Transport>>} */
export const transports = { sse, eventsource, websocket, text, poll };
