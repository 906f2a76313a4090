/**
 * The conversation as a value, and everything that can happen to it as pure functions of it.
 *
 * Invariants:
 * - A reply's `position` is the number of code points in its `text`. A reply is a `Place` of its own.
 * - A reply whose state is final never changes again, except that it is retried or gets its HTML.
 * - A reply's blocks are those of this attempt, from the text's start. They last as long as the page does.
 * - An entry to which nothing happened is the same object as before, so the view knows by `===` what to draw.
 *
 * A conversation is kept in the browser's storage as JSON, but for the blocks of its replies, so the names and values of its members must not
 * change: a page of another version reads them.
 *
 * @import { Reason } from './auto.js'
 * @import { Block } from './rendered-blocks.js'
 * @import { Part, Timed } from './parts.js'
 * @import { ProblemDetails } from './problems.js'
 * @import { TransportName } from './transports/transport.js'
 *
 * @typedef {{role: 'user', id: string, text: string}} Message
 *   What the user wrote.
 *
 * @typedef {object} Reply
 *   What the service answered, as far as it is here.
 * @property {'assistant'} role
 * @property {string} id the entry's id in this page
 * @property {string | null} reply the service's reply id, once it is known
 * @property {string} key the idempotency key of the request that starts it; empty if it was opened by a link
 * @property {string | null} body the JSON of that request, until the reply's id is known
 * @property {string} text the text that has come, without what waits for the next frame (see `TabConversation`)
 * @property {number} position the position behind the text, in code points
 * @property {number} offset the offset up to which all units are here, those of side parts too (see `Place`)
 * @property {number} offsetPosition the position at that offset
 * @property {readonly Part[]} parts what stands beside the text
 * @property {readonly Block[]} blocks the text as the service rendered it, as far as that came with it
 * @property {'running' | 'done' | 'stopped' | 'failed' | 'lost'} state `lost`: given up, may be resumed
 * @property {string | null} html all of the text as the service rendered it, once the reply has ended
 * @property {boolean} stopping whether the user asked to stop it while it runs
 * @property {ProblemDetails | null} problem why it failed, or why it was given up
 * @property {string | null} finishReason why it ended (PROTOCOL.md section 1), if that is known
 * @property {{from: TransportName, to: TransportName, reason: Reason}[]} switches changes of transport, the last ten
 *
 * @typedef {Message | Reply} Entry
 *   One entry of a conversation.
 *
 * @typedef {object} Conversation
 *   Messages and replies, and what other tabs must know of their past.
 * @property {string} id shared by all tabs that show it
 * @property {readonly Entry[]} entries in the order in which they are shown
 * @property {readonly string[]} cleared the ids of the last conversations that were cleared before this one began
 *
 * @typedef {{type: 'asked', message: Message, entry: string, key: string, body: string}
 *   | {type: 'linked', entry: string, reply: string}
 *   | {type: 'retried', entry: string, key: string, body: string}
 *   | {type: 'resumed', entry: string}
 *   | {type: 'started', entry: string, reply: string}
 *   | {type: 'grew', entry: string, arrivals: readonly Timed[]}
 *   | {type: 'switched', entry: string, from: TransportName, to: TransportName, reason: Reason}
 *   | {type: 'stopping', entry: string}
 *   | {type: 'ended', entry: string, state: 'done' | 'stopped' | 'failed', problem: ProblemDetails | null,
 *       finishReason: string | null, at: number | null}
 *   | {type: 'rendered', entry: string, html: string}
 *   | {type: 'lost', entry: string, problem: ProblemDetails | null}
 *   | {type: 'synced', conversation: Conversation}
 *   | {type: 'cleared', id: string}} ConversationEvent
 *   What happened to a conversation; `entry` is the id of a reply's entry. `asked`: a message was sent, and
 *   this request asks for its reply; `linked`: a reply was opened by its id; `retried`: a reply is asked for
 *   anew; `resumed`: one that was lost is read on; `started`: its id is known; `grew`: text or parts came, in
 *   order; `switched`: another transport reads it; `stopping`: the user wants it to stop; `ended`: it is
 *   over, at a time (unix ms) if it was seen to end; `rendered`: its HTML came; `lost`: it was given up; `synced`: another tab's copy was read;
 *   `cleared`: a new conversation begins, with this id.
 */
import { putBlock, wholeHTML } from './rendered-blocks.js';
import { closeParts, growParts } from './parts.js';
import { START, take } from './units.js';

/**
 * The number of cleared conversations that are remembered. If more are cleared while another tab is
 * suspended, that tab brings back the one that it shows.
 */
const MAX_CLEARED = 50;

/** The number of changes of transport that are kept with a reply. */
const MAX_SWITCHES = 10;

/**
 * Return a conversation without entries.
 *
 * @param {string} id
 * @returns {Conversation}
 */
export function emptyConversation(id) {
  return { id, entries: [], cleared: [] };
}

/**
 * Return the conversation after an event. An event that does not apply, such as text for a reply that has
 * ended, returns the same object.
 *
 * @param {Conversation} conversation
 * @param {ConversationEvent} event
 * @returns {Conversation}
 * @throws {Gap} when what came in `grew` does not join the reply
 */
export function reduce(conversation, event) {
  switch (event.type) {
    case 'asked': {
      const reply = newReply(event.entry, event.key, event.body);
      return { ...conversation, entries: [...conversation.entries, event.message, reply] };
    }
    case 'linked': {
      const reply = { ...newReply(event.entry, '', null), reply: event.reply };
      return { ...conversation, entries: [...conversation.entries, reply] };
    }
    case 'retried':
      return editReply(conversation, event.entry, () => newReply(event.entry, event.key, event.body), true);
    case 'resumed':
      return editReply(conversation, event.entry, (reply) =>
        reply.state === 'lost' ? { ...reply, state: 'running', problem: null } : reply, true);
    case 'started':
      return editReply(conversation, event.entry, (reply) => ({ ...reply, reply: event.reply, body: null }));
    case 'grew':
      return editReply(conversation, event.entry, (reply) => growReply(reply, event.arrivals));
    case 'switched': {
      const { from, to, reason } = event;
      return editReply(conversation, event.entry, (reply) => ({
        ...reply, switches: [...reply.switches, { from, to, reason }].slice(-MAX_SWITCHES),
      }));
    }
    case 'stopping':
      return editReply(conversation, event.entry, (reply) => ({ ...reply, stopping: true }));
    case 'ended': {
      const { state, problem, finishReason } = event;
      const ending = { state, problem, finishReason, body: null, stopping: false };
      return editReply(conversation, event.entry, (reply) => ({
        ...reply, ...ending, parts: closeParts(reply.parts, event.at), html: wholeHTML(reply.blocks, reply.position),
      }));
    }
    case 'rendered':
      return editReply(conversation, event.entry, (reply) => ({ ...reply, html: event.html }), true);
    case 'lost': {
      const { problem } = event;
      return editReply(conversation, event.entry, (reply) => ({ ...reply, state: 'lost', stopping: false, problem }));
    }
    case 'synced':
      return merge(conversation, event.conversation);
    case 'cleared':
      return {
        ...emptyConversation(event.id),
        cleared: [...conversation.cleared, conversation.id].slice(-MAX_CLEARED),
      };
  }
}

/**
 * Merge two tabs' copies of a conversation, of which either may know more: of a reply in both, the one that is
 * further wins. Two different conversations are not merged: the other one is returned, unless it was cleared
 * in this one's past, which its tab does not know yet.
 *
 * @param {Conversation} own
 * @param {Conversation} other
 * @returns {Conversation} `own` itself if the other one adds nothing
 */
export function merge(own, other) {
  if (own.id !== other.id) return own.cleared.includes(other.id) ? own : other;
  const theirs = new Map(other.entries.map((entry) => [entry.id, entry]));
  const entries = own.entries.map((entry) => {
    const their = theirs.get(entry.id);
    theirs.delete(entry.id);
    return their && isFurther(entry, their) ? withBlocks(their, entry) : entry;
  });
  const same = theirs.size === 0 && entries.every((entry, i) => entry === own.entries[i]);
  return same ? own : { ...own, entries: [...entries, ...theirs.values()] };
}

/**
 * Return the reply that runs.
 *
 * @param {Conversation} conversation
 * @returns {Reply | null} null if none runs
 */
export function runningReply(conversation) {
  return repliesOf(conversation).find((reply) => reply.state === 'running') ?? null;
}

/**
 * Return the replies of a conversation, without the messages.
 *
 * @param {Conversation} conversation
 * @returns {Reply[]}
 */
export function repliesOf(conversation) {
  return conversation.entries.filter((entry) => entry.role === 'assistant');
}

/**
 * Return whether a state is final: the service said that the reply has ended.
 *
 * @param {Reply['state']} state
 * @returns {state is 'done' | 'stopped' | 'failed'}
 */
export function isFinal(state) {
  return state === 'done' || state === 'stopped' || state === 'failed';
}

/**
 * Return the request body for a conversation (PROTOCOL.md section 2): the newest messages that stay within a
 * size. The last is always in it. The others are left out from the front, up to a message of the user's, so
 * that no answer stands without its question.
 *
 * @param {readonly Entry[]} entries
 * @param {number} maxBytes of UTF-8
 * @returns {string} JSON
 */
export function requestBody(entries, maxBytes) {
  const messages = entries
    .filter((entry) => entry.role === 'user' || entry.text !== '')
    .map(({ role, text }) => ({ role, json: JSON.stringify({ role, content: text }) }));
  const encoder = new TextEncoder();
  let room = maxBytes - encoder.encode('{"messages":[]}').length;
  let from = messages.length;
  for (const [i, { role, json }] of [...messages.entries()].reverse()) {
    room -= encoder.encode(json).length + 1;
    if (room < 0 && i < messages.length - 1) break;
    if (role === 'user') from = i;
  }
  return `{"messages":[${messages.slice(from).map(({ json }) => json).join(',')}]}`;
}

/**
 * @param {string} id
 * @param {string} key
 * @param {string | null} body
 * @returns {Reply}
 */
function newReply(id, key, body) {
  return {
    role: 'assistant', id, reply: null, key, body, text: '', html: null, ...START, parts: [], blocks: [],
    state: 'running', stopping: false, problem: null, finishReason: null, switches: [],
  };
}

/**
 * Return a reply with what has come. Another tab may be further, and what it has may have been merged in already.
 *
 * @param {Reply} reply
 * @param {readonly Timed[]} arrivals
 * @returns {Reply} the same object if nothing of it is new
 */
function growReply(reply, arrivals) {
  const { offset, offsetPosition, position } = reply;
  const before = { offset, offsetPosition, position };
  /** @type {import('./units.js').Place} */
  let place = before;
  let added = '';
  let { blocks } = reply;
  /** @type {Timed[]} */
  const fresh = [];
  for (const { arrival, at } of arrivals) {
    const taken = take(place, arrival);
    place = taken.place;
    added += taken.text;
    if (arrival.type === 'block') blocks = putBlock(blocks, arrival.block);
    if (taken.fresh) fresh.push({ arrival: taken.fresh, at });
  }
  const parts = growParts(reply.parts, fresh);
  if (place === before && parts === reply.parts && blocks === reply.blocks) return reply;
  return { ...reply, ...place, text: reply.text + added, parts, blocks };
}

/**
 * Return the conversation with one reply edited; the same object if the edit returns the same reply.
 *
 * @param {Conversation} conversation
 * @param {string} id of the entry
 * @param {(reply: Reply) => Reply} edit
 * @param {boolean} [ended] whether a reply that does not run may be edited too
 * @returns {Conversation}
 */
function editReply(conversation, id, edit, ended = false) {
  let changed = false;
  const entries = conversation.entries.map((entry) => {
    if (entry.id !== id || entry.role !== 'assistant' || (!ended && entry.state !== 'running')) return entry;
    const edited = edit(entry);
    changed ||= edited !== entry;
    return edited;
  });
  return changed ? { ...conversation, entries } : conversation;
}

/**
 * Return another tab's copy of an entry with this tab's blocks: they are not shared.
 *
 * @param {Entry} their
 * @param {Entry} own
 * @returns {Entry}
 */
function withBlocks(their, own) {
  const has = their.role === 'assistant' && own.role === 'assistant' && their.key === own.key && own.blocks.length > 0;
  return has ? { ...their, blocks: own.blocks } : their;
}

/**
 * Return whether another tab's copy of an entry is further than this tab's. Of two different attempts at a
 * reply, which have different keys, this tab's counts only as long as it runs.
 *
 * @param {Entry} own
 * @param {Entry} their
 */
function isFurther(own, their) {
  if (own.role === 'user' || their.role === 'user') return false;
  if (own.key !== their.key) return own.state !== 'running';
  if (own.state === 'running' || own.state === 'lost') {
    // What is followed here must not fall back, neither in its text nor in its parts.
    const behind = their.position < own.position || their.offset < own.offset;
    const ahead = their.position > own.position || their.offset > own.offset;
    return isFinal(their.state) || (ahead && !behind) || (!own.reply && their.reply !== null);
  }
  return false;
}
