// The official npm client against the `/v1` at argv[2]: tools, structured answers, reasoning, images. Prints what it ended up with.
import OpenAI from 'openai';
import { zodFunction, zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';

const [, , url] = process.argv;
const client = new OpenAI({ baseURL: url, apiKey: 'none', maxRetries: 0 });
const { completions } = client.chat;
const asking = (more) => ({ model: 'gpt-any', messages: [{ role: 'user', content: 'Hello' }], ...more });
const plain = ({ id, created, ...completion }) => completion;
const seen = {};

// What it says, whole and by the helper of streams.
seen.whole = plain(await completions.create(asking()));
const stream = completions.stream(asking({ stream_options: { include_usage: true } }));
let text = '';
let reasoning = '';
stream.on('content', (delta) => (text += delta));
stream.on('chunk', (chunk) => (reasoning += chunk.choices[0]?.delta.reasoning_content ?? ''));
// Members that this client doesn't know it takes from the last chunk that has them.
const { reasoning_content, ...message } = (await stream.finalChatCompletion()).choices[0].message;
seen.streamed = [text, reasoning, message, stream.totalUsage ? await stream.totalUsage() : null];

// An image, and options.
const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA', detail: 'low' } };
const content = [{ type: 'text', text: 'What is this?' }, image];
seen.vision = plain(await completions.create(asking({ messages: [{ role: 'user', content }], seed: 7, logit_bias: { 1: 2 } })));

// Tools that the client runs, in a loop of its own.
const ran = [];
const tool = {
  type: 'function',
  function: {
    name: 'weather',
    description: 'The weather of a town.',
    parameters: { type: 'object', properties: { town: { type: 'string' } } },
    parse: JSON.parse,
    function: ({ town }) => {
      ran.push(town);
      return `sunny in ${town}`;
    },
  },
};
for (const streaming of [false, true]) {
  const runner = completions.runTools(asking({ tools: [tool], stream: streaming }));
  const final = await runner.finalContent();
  seen[`ran ${streaming}`] = [final, ran.splice(0), runner.messages];
}

// Answers and arguments that have a form.
const Answer = z.object({ steps: z.array(z.string()), result: z.number() });
const form = { response_format: zodResponseFormat(Answer, 'answer') };
seen.parsed = plain(await completions.parse(asking(form)));
seen.parsedStream = plain(await completions.stream(asking(form)).finalChatCompletion());
const Town = z.object({ town: z.string() });
const typed = zodFunction({ name: 'weather', parameters: Town });
seen.arguments = plain(await completions.parse(asking({ tools: [typed] })));
seen.refused = plain(await completions.parse(asking(form)));

console.log(JSON.stringify(seen));
