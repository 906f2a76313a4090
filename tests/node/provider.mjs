// The AI SDK over its OpenAI-compatible provider against the service at argv[2]; prints what it saw as JSON.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, streamText } from 'ai';

const [, , url, text] = process.argv;
const provider = createOpenAICompatible({ name: 'chatsvc', baseURL: `${url}/v1`, includeUsage: true });
const asking = (prompt, more = {}) => ({ model: provider('any'), prompt, maxRetries: 0, ...more });
const seen = {};

const stream = streamText(asking(text, { temperature: 0.5 }));
seen.deltas = [];
for await (const delta of stream.textStream) seen.deltas.push(delta);
seen.finish = await stream.finishReason;
seen.tokens = (await stream.usage).totalTokens;

const { text: whole, finishReason } = await generateText(asking(text));
seen.whole = [whole, finishReason];

seen.cut = '';
const errors = [];
const failing = streamText(asking('fail', { onError: ({ error }) => errors.push(error.message ?? error) }));
for await (const delta of failing.textStream) seen.cut += delta;
seen.streamFailure = errors;
try {
  await generateText(asking('fail'));
} catch (error) {
  seen.wholeFailure = [error.statusCode, error.message];
}

const leaving = new AbortController();
const hanging = streamText(asking('hang', { abortSignal: leaving.signal }));
for await (const part of hanging.fullStream) {
  if (part.type === 'text-delta') leaving.abort();
  if (part.type === 'abort') seen.aborted = true;
}
console.log(JSON.stringify(seen));
