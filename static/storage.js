/**
 * What this browser keeps: the conversation, the choice of transport, and what Auto learnt. All keys carry the path of
 * the mount, so two services on one origin don't mix.
 *
 * Storage may be full or forbidden; then the page works on and forgets at the next load.
 *
 * @import { Verdict } from './auto.js'
 * @import { Conversation } from './conversation.js'
 * @import { TransportName } from './transports/transport.js'
 */
import { empty, merge } from './conversation.js';

export class Keep {
  #storage;
  #prefix;
  /** @type {Keep} */
  #settings;
  /** @type {Verdict | null} */
  #verdict = null;

  /**
   * @param {Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>} storage
   * @param {string} prefix
   * @param {Keep} [settings] what keeps all that is not of one conversation
   */
  constructor(storage, prefix, settings) {
    this.#storage = storage;
    this.#prefix = prefix;
    this.#settings = settings ?? this;
  }

  /** @param {string} name */
  key(name) {
    return `${this.#prefix}${name}`;
  }

  /** @returns {Conversation | null} */
  conversation() {
    const value = this.#read('conversation');
    const ok = typeof value?.id === 'string' && Array.isArray(value.entries) && value.entries.every(isEntry);
    return ok ? { cleared: [], ...value } : null;
  }

  /**
   * Keeps a conversation without losing what another tab has kept meanwhile, and gives what is kept: what both know, or
   * the other tab's if that has cleared this one.
   *
   * @param {Conversation} conversation
   * @returns {Conversation}
   */
  save(conversation) {
    const kept = this.conversation();
    const both = kept ? merge(conversation, kept) : conversation;
    // A full store loses the oldest first.
    for (let entries = both.entries; !this.#write('conversation', { ...both, entries }); ) {
      if (entries.length < 2) break;
      entries = entries.slice(Math.ceil(entries.length / 2));
    }
    return both;
  }

  /** @returns {TransportName | 'auto'} */
  get transport() {
    const names = ['sse', 'eventsource', 'websocket', 'text', 'poll'];
    const value = this.#settings.#read('transport');
    return names.includes(value) ? value : 'auto';
  }

  set transport(name) {
    this.#settings.#write('transport', name);
  }

  /** @returns {Verdict | null} */
  get verdict() {
    const value = this.#settings.#read('verdict');
    return typeof value?.until === 'number' && ['websocket', 'poll'].includes(value.transport) ? value : this.#verdict;
  }

  set verdict(verdict) {
    this.#verdict = verdict;
    this.#settings.#write('verdict', verdict);
  }

  get draft() {
    const value = this.#read('draft');
    return typeof value === 'string' ? value : '';
  }

  set draft(text) {
    this.#write('draft', text);
  }

  /** Whether replies are shown as written, without Markdown. */
  get raw() {
    return this.#settings.#read('raw') === true;
  }

  set raw(raw) {
    this.#settings.#write('raw', raw);
  }

  /** @param {string} name @returns {any} */
  #read(name) {
    try {
      return JSON.parse(this.#storage.getItem(this.key(name)) ?? 'null');
    } catch {
      return null;
    }
  }

  /** @param {string} name @param {unknown} value */
  #write(name, value) {
    try {
      this.#storage.setItem(this.key(name), JSON.stringify(value));
      return true;
    } catch {
      return false;
    }
  }
}

/** @param {any} entry */
function isEntry(entry) {
  return typeof entry?.id === 'string' && typeof entry.text === 'string' && ['user', 'assistant'].includes(entry.role);
}

/** A conversation with a new name. */
export function fresh() {
  return empty(newId());
}

/** 128 random bits. `crypto.randomUUID` exists in secure contexts only, and http on a LAN is none. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
