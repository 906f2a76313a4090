/**
 * What this browser keeps: the conversation, the draft, the reader's choices, and what Auto has learnt. The
 * names of keys and members and their values must not change: pages of other versions read them.
 *
 * @import { Verdict } from './auto.js'
 * @import { Conversation, Entry } from './conversation.js'
 * @import { TransportName } from './transports/transport.js'
 */
import { emptyConversation, merge } from './conversation.js';
import { withoutContents } from './parts.js';
import { START } from './units.js';

/**
 * The persistence of one conversation, and of the settings that all conversations share.
 *
 * Storage may be full or forbidden. No method throws then: the page works on, and what could not be written
 * is missing when it is loaded again.
 */
export class Persistence {
  #storage;
  #prefix;
  /** Where the settings are kept: another persistence, or this one. @type {Persistence} */
  #settings;
  /** The last verdict, returned if the storage has none because it could not be written. @type {Verdict | null} */
  #verdict = null;

  /**
   * @param {Pick<Storage, 'getItem' | 'setItem'>} storage
   * @param {string} prefix of all keys; it has the path under which chatsvc is mounted, so that two services on
   *   one origin do not mix
   * @param {Persistence} [settings] the persistence that keeps the settings; this one then keeps only the
   *   conversation and the draft. By default this one keeps all
   */
  constructor(storage, prefix, settings) {
    this.#storage = storage;
    this.#prefix = prefix;
    this.#settings = settings ?? this;
  }

  /**
   * Return the full key under which a value is stored.
   *
   * @param {string} name such as `conversation`
   * @returns {string}
   */
  key(name) {
    return `${this.#prefix}${name}`;
  }

  /**
   * Load the conversation.
   *
   * @returns {Conversation | null} null if there is none, or nothing that can be read as one
   */
  load() {
    const value = this.#read('conversation');
    const valid = typeof value?.id === 'string' && Array.isArray(value.entries) && value.entries.every(isEntry);
    return valid ? { cleared: [], ...value, entries: value.entries.map(completed) } : null;
  }

  /**
   * Save a conversation, merged with what another tab has saved meanwhile, so that neither loses anything. If
   * the storage is full, first the contents of files are left out, then all that stands beside the texts, then the
   * oldest entries, until the rest fits.
   *
   * @param {Conversation} conversation
   * @returns {Conversation} both tabs' copies merged, or the other tab's if that has begun a new one
   */
  save(conversation) {
    const stored = this.load();
    const merged = stored ? merge(conversation, stored) : conversation;
    if (this.#saveEntries(merged, merged.entries)) return merged;
    if (this.#saveEntries(merged, lightened(merged.entries, withoutContents))) return merged;
    let entries = lightened(merged.entries, () => []);
    while (!this.#saveEntries(merged, entries) && entries.length > 1) {
      entries = entries.slice(Math.ceil(entries.length / 2));
    }
    return merged;
  }

  /** @param {Conversation} conversation @param {readonly Entry[]} entries @returns {boolean} whether there was room */
  #saveEntries(conversation, entries) {
    // Blocks last as long as the page does: they are as large as the text, which the service renders again.
    const kept = entries.map((entry) => (entry.role === 'user' ? entry : { ...entry, blocks: undefined }));
    return this.#write('conversation', { ...conversation, entries: kept });
  }

  /** The transport that the reader chose; a setting. @returns {TransportName | 'auto'} */
  get transport() {
    const names = ['sse', 'eventsource', 'websocket', 'text', 'poll'];
    const value = this.#settings.#read('transport');
    return names.includes(value) ? value : 'auto';
  }

  set transport(name) {
    this.#settings.#write('transport', name);
  }

  /** What Auto has learnt, even if its time is over; a setting. @returns {Verdict | null} */
  get verdict() {
    const value = this.#settings.#read('verdict');
    const valid = typeof value?.until === 'number' && ['websocket', 'poll'].includes(value.transport);
    return valid ? value : this.#verdict;
  }

  set verdict(verdict) {
    this.#verdict = verdict;
    this.#settings.#write('verdict', verdict);
  }

  /** What the reader has written and not sent. */
  get draft() {
    const value = this.#read('draft');
    return typeof value === 'string' ? value : '';
  }

  set draft(text) {
    this.#write('draft', text);
  }

  /** Whether replies are shown as written, without Markdown; a setting. */
  get raw() {
    return this.#settings.#read('raw') === true;
  }

  set raw(raw) {
    this.#settings.#write('raw', raw);
  }

  /** @param {string} name @returns {any} null if there is nothing, or it cannot be read */
  #read(name) {
    try {
      return JSON.parse(this.#storage.getItem(this.key(name)) ?? 'null');
    } catch {
      return null;
    }
  }

  /** @param {string} name @param {unknown} value @returns {boolean} whether there was room for it */
  #write(name, value) {
    try {
      this.#storage.setItem(this.key(name), JSON.stringify(value));
      return true;
    } catch {
      return false;
    }
  }
}

/** Return an entry with the members that a page of an older version did not keep. @param {any} entry @returns {Entry} */
function completed(entry) {
  if (entry.role === 'user') return entry;
  return { ...START, parts: [], finishReason: null, ...entry, blocks: [] };
}

/**
 * Return entries of which the replies have lighter parts. One that runs is then read again from its start, and the text
 * that is here is dropped (PROTOCOL.md section 1).
 *
 * @param {readonly Entry[]} entries
 * @param {typeof withoutContents} lighten
 * @returns {readonly Entry[]}
 */
function lightened(entries, lighten) {
  return entries.map((entry) => {
    if (entry.role === 'user' || entry.parts.length === 0) return entry;
    const { position } = entry;
    if (entry.state === 'running' || entry.state === 'lost') return { ...entry, ...START, position, parts: [] };
    return { ...entry, parts: lighten(entry.parts) };
  });
}

/** @param {any} entry */
function isEntry(entry) {
  return typeof entry?.id === 'string' && typeof entry.text === 'string' && ['user', 'assistant'].includes(entry.role);
}

/**
 * Return an empty conversation with a new id.
 *
 * @returns {Conversation}
 */
export function newConversation() {
  return emptyConversation(newId());
}

/**
 * Return 128 random bits as 32 hexadecimal digits, for ids and idempotency keys. `crypto.randomUUID` exists
 * only in secure contexts, and the page may be served over plain http in a local network.
 *
 * @returns {string}
 */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
