/**
 * The composition root: it connects the page's modules with the browser and with each other. It alone knows the
 * page's address, its storage, and whether it is looked at and online.
 *
 * The modules. Each imports only from lines below its own, also types; `tests/page/test_modules.py` reads this table
 * and checks it. A pure module gets the time and random numbers as arguments, and uses no clock, network or DOM; one of
 * logic uses neither the network nor the DOM.
 *
 *     main                                              | DOM     | the composition root
 *     view                                              | DOM     | the page: log, composer, status line
 *     reply-view reading-place                          | DOM     | one reply: text, Markdown, buttons; scrolling
 *     end-view waiting-view                             | DOM     | how a reply ended, what it waits for
 *     parts-view                                        | DOM     | what stands beside a reply's text
 *     rendered-view                                     | DOM     | rendered blocks, and text behind the last
 *     step-view blocks                                  | DOM     | one thought or call; code, tables and formulas
 *     caret morph kept-selection copying                | DOM     | HTML that changes in place, buttons that copy
 *     elements composing growing-text scroll-stops      | DOM     | look-up of elements, the composer, text that grows, tab stops
 *     markdown                                          | network | HTML from the service
 *     chat                                              | logic   | what a person can do, and what comes of it
 *     followed-replies                                  | logic   | which replies are followed now
 *     tab-conversation                                  | logic   | the current value, saved, shared with other tabs
 *     stop                                              | network | stopping a reply at the service
 *     follow                                            | logic   | one reply to its end
 *     race                                              | logic   | which transport reads
 *     reading                                           | logic   | one reading, watched
 *     storage                                           | logic   | persistence
 *     transports/index                                  | logic   | the table of transports
 *     transports/{sse,eventsource,websocket,text,poll}  | network | one reading each
 *     transports/snapshot                               | network | one JSON answer, used by several of them
 *     transports/http                                   | network | their requests
 *     transports/stream-events                          | logic   | what the events of a stream mean
 *     ending waiting                                    | pure    | how a reply ended, what it waits for, as values
 *     conversation                                      | pure    | the conversation, and what can happen to it
 *     smoothing                                         | pure    | bursts, handed on evenly
 *     parts                                             | pure    | what stands beside a reply's text, as values
 *     current-status                                    | pure    | what the status line says
 *     auto                                              | pure    | when to leave a transport, and for which
 *     transports/transport                              | pure    | the interface of all transports
 *     units                                             | pure    | what comes of a reply, and how far one is in it
 *     speed                                             | pure    | characters a second
 *     rendered-blocks safe-characters                   | pure    | rendered blocks, and text that needs none
 *     position problems event-stream backoff translate  | pure    | values, parsers, tables
 *     addresses json-text                               | pure    | what a model wrote, made safe and readable
 *
 * The way of a message: the composer in `view` calls `Actions.send`, which is `Chat.send`. It applies `asked` to the
 * `TabConversation`, which computes the conversation after this event and saves it, and has `FollowedReplies` call
 * `follow`. That has a transport of the table read the reply, and others beside it (`race`) if it is silent; the
 * transport POSTs the request, and emits a `TransportEvent` for whatever comes. `reading` passes each to `auto` and drops
 * what is here already; `follow` reads again or over another transport when it has to, and emits `Progress`. `Chat` turns that into events of the conversation and
 * into `Status`, and both go to `View.draw` before the next frame.
 */
import { Chat } from './chat.js';
import { repliesOf } from './conversation.js';
import { find } from './elements.js';
import { fetchRendering } from './markdown.js';
import { Persistence } from './storage.js';
import { createTranslate } from './translate.js';
import { transports } from './transports/index.js';
import { View } from './view.js';

/** How long the browser keeps a choice of language: a year. */
const LANGUAGE_MAX_AGE_S = 31536000;
/** How long a frame may be late before a timer draws in its stead. */
const FRAME_TIMEOUT_MS = 250;

const base = new URL('./', location.href);
const page = JSON.parse(find('#page', HTMLScriptElement).textContent ?? '{}');
/** Return the id of the reply that the address names, or null. */
const replyInAddress = () => /^#([A-Za-z0-9_-]{22})$/.exec(location.hash)?.[1] ?? null;
const linkedReply = replyInAddress();

/** Return a storage, or one that forgets where storage is forbidden. @param {'local' | 'session'} kind */
const openStorage = (kind) => {
  try {
    return kind === 'session' ? sessionStorage : localStorage;
  } catch {
    return { getItem: () => null, setItem: () => {} };
  }
};
// Who signs in on this browser after somebody else does not find their conversation.
const prefix = `chatsvc:${base.pathname}:${page.user ? `@${page.user}:` : ''}`;
const ownPersistence = new Persistence(openStorage('local'), prefix);
// A linked reply that is not in the reader's own conversation is shown in another one, which lasts as long as the tab,
// so that it does not end up in the reader's.
const persistence = linkedReply && !holds(ownPersistence.load(), linkedReply)
  ? new Persistence(openStorage('session'), `${prefix}${linkedReply}:`, ownPersistence)
  : ownPersistence;

/** @type {import('./reading.js').Environment} */
const environment = {
  transports,
  now: () => performance.now(),
  after(run, ms) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
  random: Math.random,
  online: () => navigator.onLine,
  onWake(wake) {
    const online = () => wake('online');
    const seen = () => document.visibilityState === 'visible' && wake('seen');
    addEventListener('online', online);
    // The loss of the network counts as the page being seen, so that the status line says so at once.
    addEventListener('offline', seen);
    addEventListener('pageshow', seen);
    document.addEventListener('visibilitychange', seen);
    return () => {
      removeEventListener('online', online);
      removeEventListener('offline', seen);
      removeEventListener('pageshow', seen);
      document.removeEventListener('visibilitychange', seen);
    };
  },
};

/**
 * Run something before the next frame. A hidden page gets no frames, so a timer runs it then, and the page is up to
 * date when it is shown.
 *
 * @param {() => void} run
 */
const requestFrame = (run) => {
  let ran = false;
  const once = () => {
    if (!ran) run();
    ran = true;
  };
  if (document.visibilityState === 'visible') requestAnimationFrame(once);
  setTimeout(once, FRAME_TIMEOUT_MS);
};

/** @type {View} */
let view;
/** Whether the transport in use brings rendered blocks with the text. */
let rendersInStream = true;
const chat = new Chat({
  base, persistence, environment, requestFrame, limits: page.limits,
  draw: (conversation, status) => {
    rendersInStream = transports[status.transport].renders;
    view.draw(conversation, status);
  },
  announce: (announcement, reply) => view.announce(announcement, reply),
  isVisible: () => document.visibilityState === 'visible',
});
view = new View(createTranslate(page.strings), {
  send: (text) => chat.send(text),
  stop: () => chat.stop(),
  clear: () => {
    chat.clear();
    removeReplyFromAddress();
  },
  retry: (entry) => {
    chat.retry(entry);
    removeReplyFromAddress();
  },
  resume: (entry) => chat.resume(entry),
  chooseTransport: (chosen) => chat.chooseTransport(chosen),
  saveDraft: (text) => (persistence.draft = text),
  saveRaw: (raw) => (persistence.raw = raw),
  rendersInStream: () => rendersInStream,
  render: (reply) => fetchRendering(base, reply),
  keepHTML: (entry, html) => chat.keepHTML(entry, html),
  linkTo: (reply) => new URL(`#${reply}`, base).href,
  isOwn: (url) => {
    const { origin, pathname } = new URL(url, base);
    return origin === base.origin && pathname.startsWith(base.pathname);
  },
}, { draft: persistence.draft, raw: persistence.raw });

/**
 * Return whether a reply is in a conversation.
 *
 * @param {import('./conversation.js').Conversation | null} conversation
 * @param {string} reply the reply's id
 */
function holds(conversation, reply) {
  return conversation !== null && repliesOf(conversation).some((entry) => entry.reply === reply);
}

/**
 * Remove the reply's id from the address. After a retry or a clear the conversation may no longer hold that reply, and
 * loading the page again would then open it as one from elsewhere. A linked conversation keeps its address, because the
 * key under which it is stored is made from it.
 */
function removeReplyFromAddress() {
  if (persistence === ownPersistence) history.replaceState(null, '', base);
}

// The form leads back to the same reply.
find('#reply-template', HTMLTemplateElement).content.querySelector('.sign-in')?.setAttribute('href', `login${location.hash}`);
if (linkedReply) {
  // If the linked conversation is stored already, the reply is in it, or was cleared from it and stays away.
  if (!persistence.load()) chat.openLink(linkedReply);
  requestFrame(() => view.show(linkedReply));
}
// Another fragment in the same tab loads nothing by itself.
addEventListener('hashchange', () => {
  const reply = replyInAddress();
  if (reply && holds(chat.conversation, reply)) view.show(reply);
  else if (reply || persistence !== ownPersistence) location.reload();
});
addEventListener('pagehide', () => chat.save());
// A page that a browser brings back on the way back may be that of a user who has signed out since.
addEventListener('pageshow', ({ persisted }) => persisted && page.user && location.reload());
addEventListener('storage', (event) => event.key === persistence.key('conversation') && chat.sync());
find('#language', HTMLSelectElement).addEventListener('change', ({ target }) => {
  const { value } = /** @type {HTMLSelectElement} */ (target);
  document.cookie = `chatsvc_language=${value}; path=${base.pathname}; max-age=${LANGUAGE_MAX_AGE_S}; samesite=lax`;
  location.reload();
});
// On a touch screen the focus would bring up the keyboard, over what the reader came to read.
if (matchMedia('(pointer: fine)').matches) view.focus();
// For tests: the modules have run.
document.documentElement.dataset['ready'] = '';
