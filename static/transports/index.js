/**
 * The table of transports. Another transport is one file and one line here, its name in `TransportName`,
 * and its place in the menu of `templates/chat.html`.
 *
 * @import { Transport, TransportName } from './transport.js'
 */
import { eventsource } from './eventsource.js';
import { poll } from './poll.js';
import { sse } from './sse.js';
import { text } from './text.js';
import { websocket } from './websocket.js';

/** All transports by name. @type {Readonly<Record<TransportName, Transport>>} */
export const transports = { sse, eventsource, websocket, text, poll };
