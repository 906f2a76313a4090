// A page of the AI SDK, without React, against the service at argv[2]; prints what it saw as JSON.
// argv[3] is the package: one version of `ai`.
const [, , url, name, only] = process.argv;
const { AbstractChat, DefaultChatTransport, generateId, lastAssistantMessageIsCompleteWithToolCalls } = await import(name);

class Chat extends AbstractChat {
  constructor(id = generateId(), { messages = [], fetch, body, tools = true } = {}) {
    const state = {
      status: 'ready',
      error: undefined,
      messages: structuredClone(messages),
      pushMessage: (message) => (state.messages = [...state.messages, message]),
      popMessage: () => (state.messages = state.messages.slice(0, -1)),
      replaceMessage: (index, message) => (state.messages = state.messages.map((old, at) => (at === index ? message : old))),
      snapshot: structuredClone,
    };
    const ran = [];
    super({
      id,
      state,
      transport: new DefaultChatTransport({ api: `${url}/api/ui`, fetch, body }),
      onToolCall: ({ toolCall }) => {
        ran.push(toolCall.toolName);
        if (tools) void this.addToolOutput({ tool: toolCall.toolName, toolCallId: toolCall.toolCallId, output: { sun: true } });
      },
      sendAutomaticallyWhen: tools ? lastAssistantMessageIsCompleteWithToolCalls : undefined,
    });
    this.ran = ran;
  }

  /** What the page shows: each message as its role and its parts. */
  get shown() {
    return this.messages.map(({ role, parts }) => [role, ...parts.map(shape)]);
  }

  /** Waits until the page shows something. */
  async shows(text) {
    for (let left = 4000; !JSON.stringify(this.shown).includes(text); left -= 1) {
      if (!left) throw new Error(`the page never showed ${text}: ${JSON.stringify(this.shown)}`);
      await tick();
    }
  }
}

const tick = () => new Promise((wake) => setTimeout(wake, 5));

/** A part without what a version may add: its kind, then what is in it. */
function shape(part) {
  const [kind, tool] = part.type.startsWith('tool-') ? ['tool', part.type.slice(5)] : [part.type];
  if (tool) return [kind, tool, part.state, part.output ?? part.errorText ?? part.input ?? null];
  if (kind === 'text') return [kind, part.text];
  if (kind === 'reasoning') return [kind, part.text, part.providerMetadata?.chatsvc?.signature ?? null];
  if (kind === 'source-url') return [kind, part.url, part.title ?? null];
  if (kind === 'file') return [kind, part.mediaType, part.url];
  if (kind.startsWith('data-')) return [kind, part.data];
  return [kind];
}

/** A `fetch` whose first answer breaks off, as in a lost network, when `cut` is called. */
function cuttable() {
  const network = async (...request) => {
    const response = await fetch(...request);
    if (network.cut || !response.body) return response;
    const body = response.body.pipeThrough(new TransformStream({
      start(controller) {
        network.cut = () => controller.error(new TypeError('network error'));
      },
    }));
    return new Response(body, response);
  };
  return network;
}

const post = (path, body) => fetch(url + path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
const open = (gate) => post('/api/chat?wait=0', { message: `open ${gate}` });
const seen = {};

/** Notes what a scenario saw, or which error it ended with; argv[4] names the only ones to play. */
async function scene(title, play) {
  if (only && !title.startsWith(only)) return;
  try {
    seen[title] = await play();
  } catch (error) {
    seen[title] = String(error.message ?? error);
  }
}

async function asked(question, options) {
  const chat = new Chat(undefined, options);
  await chat.sendMessage({ text: question });
  return chat;
}

await scene('text', async () => {
  const chat = await asked('text');
  return [chat.shown, chat.status, chat.messages.at(-1).metadata];
});

await scene('thought', async () => {
  const chat = await asked('think');
  await chat.sendMessage({ text: 'text' });
  return chat.shown;
});

await scene('client', async () => {
  const chat = await asked('call');
  const ids = chat.messages.map(({ id }) => id);
  await chat.sendMessage({ text: 'call' });
  return [chat.shown, chat.ran, new Set(ids).size, chat.status];
});

await scene('server', async () => {
  const chat = await asked('serve');
  return [chat.shown, chat.ran, chat.status];
});

await scene('broken', async () => {
  const chat = await asked('broken');
  return [chat.shown, chat.ran, chat.status];
});

await scene('rich', async () => (await asked('rich')).shown);

await scene('failing', async () => {
  const chat = await asked('fail');
  return [chat.shown, chat.status, chat.error.message];
});

await scene('options', async () => (await asked('options', { body: { options: { seed: 7 } } })).shown);

await scene('file', async () => {
  const chat = new Chat();
  await chat.sendMessage({ text: 'files', files: [{ type: 'file', mediaType: 'image/png', url: 'data:image/png;base64,AA==' }] });
  return chat.shown.at(-1);
});

// The page asks the service to stop: leaving alone lets the model write on.
await scene('stopped', async () => {
  const chat = new Chat();
  const sending = chat.sendMessage({ text: 'hang' });
  await chat.shows('cut');
  const { status } = await post(`/api/chat/${chat.messages.at(-1).id}/stop`);
  await sending;
  return [chat.shown, chat.status, status];
});

// The message of a page's own, with which the reply goes on: stopped by that message's id.
await scene('own', async () => {
  const own = [
    { id: generateId(), role: 'user', parts: [{ type: 'text', text: 'hang' }] },
    {
      id: generateId(),
      role: 'assistant',
      parts: [{ type: 'step-start' }, { type: 'tool-weather', toolCallId: '1', state: 'output-available', input: {}, output: 'rain' }],
    },
  ];
  const chat = new Chat(undefined, { messages: own });
  const sending = chat.sendMessage();
  await chat.shows('cut');
  const { status } = await post(`/api/chat/${own[1].id}/stop`);
  await sending;
  return [chat.shown, chat.messages.at(-1).id === own[1].id, status, chat.status];
});

/** A page that is left in the middle of an answer, and loaded anew with what it had stored. */
async function reloaded(question, half, store, options) {
  const first = new Chat(undefined, options);
  void first.sendMessage({ text: question });
  await first.shows(half);
  const stored = structuredClone(store(first.messages));
  await first.stop();
  const page = new Chat(first.id, { messages: stored });
  const resuming = page.resumeStream();
  await page.shows(half);
  await tick();
  await open(question);
  await resuming;
  return [page.shown, page.ran, page.status, first.ran];
}

const all = (messages) => messages;
const questions = (messages) => messages.filter(({ role }) => role === 'user');
await scene('reloaded with the question', () => reloaded('hold text a', 'Hel', questions));
await scene('reloaded with the text', () => reloaded('hold text b', 'Hel', all));
await scene('reloaded in a thought', () => reloaded('hold thought c', 'Let', all));
await scene('reloaded with the call', () => reloaded('hold call d', 'Par', all));
await scene('reloaded before the call', () => reloaded('hold call e', 'Par', questions));
await scene('reloaded in the second turn', () => reloaded('hold second f', 'It', all));

/** A page that stays while its network goes away in the middle of an answer, and comes back. */
async function cut(question, half) {
  const network = cuttable();
  const chat = new Chat(undefined, { fetch: network });
  const sending = chat.sendMessage({ text: question });
  await chat.shows(half);
  network.cut();
  await sending;
  const { status } = chat;
  const resuming = chat.resumeStream();
  await tick();
  await open(question);
  await resuming;
  return [chat.shown, chat.ran, chat.status, status];
}

await scene('cut', () => cut('hold text g', 'Hel'));
await scene('cut in a call', () => cut('hold call h', 'Par'));

// After the end, whoever has it gets nothing again.
await scene('after the end', async () => {
  const chat = await asked('call');
  const page = new Chat(chat.id, { messages: chat.messages });
  await page.resumeStream();
  return [page.shown, page.ran, page.status];
});

console.log(JSON.stringify(seen));
process.exit(0);
