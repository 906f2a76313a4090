/**
 * The conversation as a value, and everything that can happen to it as a pure function of it.
 *
 * Always true: `position` of a reply is the number of code points in its `text`; a reply whose state is final never
 * changes again, but by retrying it; an entry that nothing happened to is the same object as before, so that the view
 * can tell by `===` what to draw.
 *
 * @import { Reason } from './auto.js'
 * @import { ProblemDetails, TransportName } from './transports/transport.js'
 *
 * @typedef {{role: 'user', id: string, text: string}} Message
 *
 * @typedef {object} Reply
 * @property {'assistant'} role
 * @property {string} id of the entry in this page
 * @property {string | null} reply the service's id, once it is known
 * @property {string} key idempotency key of the request that starts it
 * @property {string | null} body that request, until the reply's id is known
 * @property {string} text
 * @property {number} position code points
 * @property {'running' | 'done' | 'stopped' | 'failed' | 'lost'} state `lost`: given up, may be resumed
 * @property {string | null} html the text rendered by the service, once it has ended
 * @property {boolean} stopping
 * @property {ProblemDetails | null} problem
 * @property {{from: TransportName, to: TransportName, reason: Reason}[]} switches
 *
 * @typedef {Message | Reply} Entry
 * @typedef {object} Conversation
 * @property {string} id
 * @property {readonly Entry[]} entries
 * @property {readonly string[]} cleared ids of the conversations in whose place it stands, the last ones
 *
 * @typedef {{type: 'asked', message: Message | null, entry: string, key: string, body: string}
 *   | {type: 'linked', entry: string, reply: string}
 *   | {type: 'retried', entry: string, key: string, body: string}
 *   | {type: 'resumed', entry: string}
 *   | {type: 'started', entry: string, reply: string}
 *   | {type: 'grew', entry: string, text: string, to: number}
 *   | {type: 'switched', entry: string, from: TransportName, to: TransportName, reason: Reason}
 *   | {type: 'stopping', entry: string}
 *   | {type: 'ended', entry: string, state: 'done' | 'stopped' | 'failed', problem: ProblemDetails | null}
 *   | {type: 'rendered', entry: string, html: string}
 *   | {type: 'lost', entry: string, problem: ProblemDetails | null}
 *   | {type: 'synced', conversation: Conversation}
 *   | {type: 'cleared', id: string}} Action
 */
import { newText } from './position.js';

/** So many cleared conversations are remembered. A tab that slept through more of them brings its own back. */
const REMEMBERED = 50;

/**
 * @param {string} id
 * @returns {Conversation}
 */
export function empty(id) {
  return { id, entries: [], cleared: [] };
}

/**
 * @param {Conversation} conversation
 * @param {Action} action
 * @returns {Conversation}
 */
export function reduce(conversation, action) {
  switch (action.type) {
    case 'asked': {
      const reply = blank(action.entry, action.key, action.body);
      const added = action.message ? [action.message, reply] : [reply];
      return { ...conversation, entries: [...conversation.entries, ...added] };
    }
    case 'linked': {
      const reply = { ...blank(action.entry, '', null), reply: action.reply };
      return { ...conversation, entries: [...conversation.entries, reply] };
    }
    case 'retried':
      return change(conversation, action.entry, () => blank(action.entry, action.key, action.body), true);
    case 'resumed':
      return change(conversation, action.entry, (reply) =>
        reply.state === 'lost' ? { ...reply, state: 'running', problem: null } : reply, true);
    case 'started':
      return change(conversation, action.entry, (reply) => ({ ...reply, reply: action.reply, body: null }));
    case 'grew':
      // Another tab may have been further, and what it has may be here already.
      return change(conversation, action.entry, (reply) => {
        const text = newText(reply.position, action.text, action.to);
        return text ? { ...reply, text: reply.text + text, position: action.to } : reply;
      });
    case 'switched': {
      const { from, to, reason } = action;
      return change(conversation, action.entry, (reply) => ({
        ...reply, switches: [...reply.switches.slice(-9), { from, to, reason }],
      }));
    }
    case 'stopping':
      return change(conversation, action.entry, (reply) => ({ ...reply, stopping: true }));
    case 'ended': {
      const { state, problem } = action;
      return change(conversation, action.entry, (reply) => ({ ...reply, state, problem, body: null, stopping: false }));
    }
    case 'rendered':
      return change(conversation, action.entry, (reply) => ({ ...reply, html: action.html }), true);
    case 'lost':
      return change(conversation, action.entry, (reply) => ({ ...reply, state: 'lost', stopping: false, problem: action.problem }));
    case 'synced':
      return merge(conversation, action.conversation);
    case 'cleared':
      return { ...empty(action.id), cleared: [...conversation.cleared, conversation.id].slice(-REMEMBERED) };
  }
}

/**
 * One conversation out of two copies of it, of which either may know more: two tabs share one store.
 * Of a reply that both have, the one that is further wins. Another conversation is taken as it is, but for one that was
 * cleared here: its tab has not yet been told.
 *
 * @param {Conversation} own
 * @param {Conversation} other
 * @returns {Conversation}
 */
export function merge(own, other) {
  if (own.id !== other.id) return own.cleared.includes(other.id) ? own : other;
  const theirs = new Map(other.entries.map((entry) => [entry.id, entry]));
  const entries = own.entries.map((entry) => {
    const their = theirs.get(entry.id);
    theirs.delete(entry.id);
    return their && further(entry, their) ? their : entry;
  });
  const same = theirs.size === 0 && entries.every((entry, i) => entry === own.entries[i]);
  return same ? own : { ...own, entries: [...entries, ...theirs.values()] };
}

/** The reply that runs, if one does. @param {Conversation} conversation */
export function running(conversation) {
  return replies(conversation).find((reply) => reply.state === 'running') ?? null;
}

/** @param {Conversation} conversation */
export function replies(conversation) {
  return conversation.entries.filter((entry) => entry.role === 'assistant');
}

/**
 * The request body for a conversation up to an entry: the newest messages that stay below `maxBytes`. The last is always
 * in it; what does not fit is left off from the front, at a question, so that no answer stands without one.
 *
 * @param {readonly Entry[]} entries
 * @param {number} maxBytes of UTF-8
 * @returns {string}
 */
export function requestBody(entries, maxBytes) {
  const said = entries
    .filter((entry) => entry.role === 'user' || entry.text !== '')
    .map(({ role, text }) => ({ role, json: JSON.stringify({ role, content: text }) }));
  const encoder = new TextEncoder();
  let room = maxBytes - encoder.encode('{"messages":[]}').length;
  let from = said.length;
  for (const [i, { role, json }] of [...said.entries()].reverse()) {
    room -= encoder.encode(json).length + 1;
    if (room < 0 && i < said.length - 1) break;
    if (role === 'user') from = i;
  }
  return `{"messages":[${said.slice(from).map(({ json }) => json).join(',')}]}`;
}

/**
 * @param {string} id
 * @param {string} key
 * @param {string | null} body
 * @returns {Reply}
 */
function blank(id, key, body) {
  return {
    role: 'assistant', id, reply: null, key, body, text: '', html: null, position: 0,
    state: 'running', stopping: false, problem: null, switches: [],
  };
}

/**
 * @param {Conversation} conversation
 * @param {string} id
 * @param {(reply: Reply) => Reply} edit
 * @param {boolean} [ended] whether it may be edited although it has ended
 * @returns {Conversation}
 */
function change(conversation, id, edit, ended = false) {
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
 * @param {Entry} own
 * @param {Entry} their
 */
function further(own, their) {
  if (own.role === 'user' || their.role === 'user') return false;
  if (own.key !== their.key) return own.state !== 'running';
  if (own.state === 'running' || own.state === 'lost') {
    return isFinal(their.state) || their.position > own.position || (!own.reply && their.reply !== null);
  }
  return false;
}

/** @param {Reply['state']} state @returns {state is 'done' | 'stopped' | 'failed'} */
export function isFinal(state) {
  return state === 'done' || state === 'stopped' || state === 'failed';
}
