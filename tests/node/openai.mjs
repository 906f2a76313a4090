// The official npm client against the service at argv[2]; prints what it saw as JSON.
import OpenAI from 'openai';

const [, , url, text] = process.argv;
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
const ask = (content, more = {}) => client.chat.completions.create({ model: 'any', messages: [{ role: 'user', content }], ...more });
const failure = async (promise) => {
  try {
    await promise;
    return null;
  } catch (error) {
    return { kind: error.constructor.name, status: error.status ?? null, code: error.code, message: error.message };
  }
};
const seen = {};

seen.models = (await client.models.list()).data.map(({ id }) => id);
const whole = await ask(text);
seen.whole = [whole.choices[0].message.content, whole.choices[0].finish_reason, whole.usage];

seen.chunks = [];
for await (const chunk of await ask(text, { stream: true, stream_options: { include_usage: true } })) {
  const [choice] = chunk.choices;
  seen.chunks.push(choice ? [choice.delta.role ?? null, choice.delta.content ?? null, choice.finish_reason] : chunk.usage);
}

seen.cut = '';
seen.streamFailure = await failure((async () => {
  for await (const chunk of await ask('fail', { stream: true })) seen.cut += chunk.choices[0].delta.content ?? '';
})());
seen.wholeFailure = await failure(ask('fail'));
seen.refused = await failure(client.chat.completions.create({ model: 'any', messages: [] }));
seen.missing = await failure(client.models.retrieve('none'));

const hanging = await ask('hang', { stream: true });
for await (const chunk of hanging) {
  if (!chunk.choices[0].delta.content) continue;
  hanging.controller.abort();
  break;
}
console.log(JSON.stringify(seen));
