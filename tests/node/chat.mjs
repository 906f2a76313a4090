// What useChat is made of, without React, against the service at argv[2]; prints what it saw as JSON.
import { AbstractChat, DefaultChatTransport, generateId } from 'ai';

const [, , url, text] = process.argv;

class Chat extends AbstractChat {
  constructor(id, { messages = [], fetch } = {}) {
    const state = {
      status: 'ready',
      error: undefined,
      messages,
      pushMessage: (message) => (state.messages = [...state.messages, message]),
      popMessage: () => (state.messages = state.messages.slice(0, -1)),
      replaceMessage: (index, message) => (state.messages = state.messages.with(index, message)),
      snapshot: structuredClone,
    };
    const ends = [];
    super({ id, state, transport: new DefaultChatTransport({ api: `${url}/api/ui`, fetch }), onFinish: (end) => ends.push(end) });
    this.ends = ends;
  }

  get texts() {
    return this.messages.map(({ role, parts }) => [role, parts.filter(({ type }) => type === 'text').map(({ text }) => text).join('')]);
  }

  async grown(length) {
    while ((this.texts.at(-1)?.[0] !== 'assistant') || this.texts.at(-1)[1].length < length) await new Promise((wake) => setTimeout(wake, 5));
  }
}

/** Breaks the first answer's body as a lost network does, once it has carried enough. */
function cutting(bytes) {
  let left = bytes;
  return async (...request) => {
    const response = await fetch(...request);
    if (left <= 0) return response;
    const body = response.body.pipeThrough(new TransformStream({
      transform(piece, controller) {
        controller.enqueue(piece);
        left -= piece.length;
        if (left <= 0) controller.error(new TypeError('network error'));
      },
    }));
    return new Response(body, response);
  };
}

const post = (path, body) => fetch(url + path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
const seen = {};

const plain = new Chat('plain');
await plain.sendMessage({ text });
await plain.sendMessage({ text: 'again' });
seen.plain = [plain.texts, plain.status, plain.messages.at(-1).metadata.finishReason];
await plain.regenerate();
seen.regenerated = plain.texts;

const failing = new Chat('failing');
await failing.sendMessage({ text: 'fail' });
seen.failing = [failing.texts, failing.status, failing.error.message];

const refused = new Chat('x'.repeat(300));
await refused.sendMessage({ text });
seen.refused = JSON.parse(refused.error.message).type;

// A network that goes away in the middle of a reply that goes on: the same chat picks it up again.
const cut = new Chat(undefined, { fetch: cutting(150) });
await cut.sendMessage({ text: 'gate' });
seen.cut = [cut.texts, cut.status, cut.ends.at(-1).isDisconnect];
const resuming = cut.resumeStream();
await cut.grown(3);
await post('/api/chat', { message: 'open' });
await resuming;
seen.resumed = [cut.texts, cut.status];

// A page that is loaded anew gets nothing again: the other one has had the end.
const loaded = new Chat(cut.id, { messages: cut.messages });
await loaded.resumeStream();
seen.loaded = loaded.texts;
seen.ids = [cut.id.length, generateId().length];

// A chat's id that is short enough to be chosen twice starts replies, and finds none again.
const short = new Chat('short');
await short.sendMessage({ text });
const shared = new Chat('short');
await shared.resumeStream();
seen.short = [short.texts, shared.texts, shared.status];

const unknown = new Chat(generateId());
await unknown.resumeStream();
seen.unknown = [unknown.texts, unknown.status];

// stop() ends reading; the reply is stopped by its id, which is the message's.
const stopping = new Chat(generateId());
const sending = stopping.sendMessage({ text: 'hang' });
await stopping.grown(3);
await stopping.stop();
await sending;
const again = new Chat(stopping.id);
const reading = again.resumeStream();
await again.grown(3);
await post(`/api/chat/${again.messages.at(-1).id}/stop`);
await reading;
seen.stopped = [again.texts, again.status];

// The next message of a chat stops the reply that nobody waits for any more.
const left = new Chat(generateId());
const sent = left.sendMessage({ text: 'hang' });
await left.grown(3);
await left.stop();
await sent;
await left.sendMessage({ text: 'on' });
seen.left = left.texts;
console.log(JSON.stringify(seen));
