// The README's example of useChat, without React, against the service at argv[2]; prints what it saw as JSON.
// argv[3] is the example.
import { AbstractChat, DefaultChatTransport, generateId, lastAssistantMessageIsCompleteWithToolCalls } from 'ai';

const [, , url, example] = process.argv;
const network = globalThis.fetch;
globalThis.fetch = (path, options) => network(url + path, options);

class Chat extends AbstractChat {
  constructor({ resume, ...options }) {
    const state = {
      status: 'ready',
      error: undefined,
      messages: [],
      pushMessage: (message) => (state.messages = [...state.messages, message]),
      popMessage: () => (state.messages = state.messages.slice(0, -1)),
      replaceMessage: (index, message) => (state.messages = state.messages.with(index, message)),
      snapshot: structuredClone,
    };
    super({ ...options, state });
    this.resumes = resume;
  }
}

const ran = [];
const run = (...call) => (ran.push(call), 'sunny');
const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object' } } }];
const names = { useChat: (options) => new Chat(options), DefaultChatTransport, lastAssistantMessageIsCompleteWithToolCalls, id: generateId(), tools, run };
const { chat, stop } = new Function(...Object.keys(names), `${example}; return { chat, stop };`)(...Object.values(names));

const sending = chat.sendMessage({ text: 'How is the weather?' });
while (!JSON.stringify(chat.messages).includes('It is')) await new Promise((wake) => setTimeout(wake, 5));
const { status } = await stop();
await sending;
while (chat.status !== 'ready') await new Promise((wake) => setTimeout(wake, 5));
const parts = chat.messages.at(-1).parts.map(({ type, text, output }) => [type, text ?? output ?? null]);
console.log(JSON.stringify({ status, ran, parts, messages: chat.messages.length, resumes: chat.resumes }));
process.exit(0);
