/** Puts the page together; the only module that knows its address, its storage and whether it is seen and online. */
import { Chat } from './chat.js';
import { replies } from './conversation.js';
import { find } from './find.js';
import { Keep } from './storage.js';
import { rendered } from './markdown.js';
import { transports } from './transports/index.js';
import { View } from './view.js';
import { words as wordsOf } from './words.js';

const base = new URL('./', location.href);
const page = JSON.parse(find('#page', HTMLScriptElement).textContent ?? '{}');
/** The reply that the address names. */
const named = () => /^#([A-Za-z0-9_-]{22})$/.exec(location.hash)?.[1] ?? null;
const linked = named();

/** @param {string} [name] */
const storage = (name) => {
  try {
    return name ? sessionStorage : localStorage;
  } catch {
    return { getItem: () => null, setItem: () => {}, removeItem: () => {} };
  }
};
const prefix = `chatsvc:${base.pathname}:`;
const own = new Keep(storage(), prefix);
// A reply from somewhere else is shown in a conversation of its own, so that it doesn't end up in the reader's.
const known = linked && holds(own.conversation(), linked);
const keep = linked && !known ? new Keep(storage('linked'), `${prefix}${linked}:`, own) : own;

/** @type {import('./follow.js').World} */
const world = {
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

/** A hidden page gets no frames; a timer draws for it, so that all is there when it is shown. @param {() => void} run */
const frame = (run) => {
  let ran = false;
  const once = () => {
    if (!ran) run();
    ran = true;
  };
  if (document.visibilityState === 'visible') requestAnimationFrame(once);
  setTimeout(once, 250);
};

const words = wordsOf(page.strings);
/** @type {View} */
let view;
const chat = new Chat({
  base, keep, world, frame, limits: page.limits,
  draw: (conversation, status) => view.draw(conversation, status),
  say: (said) => view.say(said),
  visible: () => document.visibilityState === 'visible',
});
view = new View(words, {
  send: (text) => chat.send(text),
  stop: () => chat.stop(),
  clear: () => {
    chat.clear();
    unname();
  },
  retry: (entry) => {
    chat.retry(entry);
    unname();
  },
  resume: (entry) => chat.resume(entry),
  use: (chosen) => chat.use(chosen),
  draft: (text) => (keep.draft = text),
  raw: (raw) => (keep.raw = raw),
  render: (reply) => rendered(base, reply),
  keepHTML: (entry, html) => chat.keepHTML(entry, html),
  link: (reply) => new URL(`#${reply}`, base).href,
}, { draft: keep.draft, raw: keep.raw });

/**
 * @param {import('./conversation.js').Conversation | null} conversation
 * @param {string} reply
 */
function holds(conversation, reply) {
  return conversation !== null && replies(conversation).some((entry) => entry.reply === reply);
}

/** A reply that may be gone is named no longer; but a conversation of its own is found by its address. */
function unname() {
  if (keep === own) history.replaceState(null, '', base);
}

if (linked) {
  // One that was cleared here stays so when the page is loaded again.
  if (!keep.conversation()) chat.link(linked);
  frame(() => view.show(linked));
}
// Another address in the same tab loads nothing by itself.
addEventListener('hashchange', () => {
  const reply = named();
  if (reply && holds(chat.conversation, reply)) view.show(reply);
  else if (reply || keep !== own) location.reload();
});
addEventListener('pagehide', () => chat.save());
addEventListener('storage', (event) => event.key === keep.key('conversation') && chat.sync());
find('#language', HTMLSelectElement).addEventListener('change', ({ target }) => {
  const { value } = /** @type {HTMLSelectElement} */ (target);
  document.cookie = `chatsvc_language=${value}; path=${base.pathname}; max-age=31536000; samesite=lax`;
  location.reload();
});
if (matchMedia('(pointer: fine)').matches) view.focus();
document.documentElement.dataset['ready'] = '';
