// What many write: Express, the openai client, and each chunk as JSON again.
// usage: node express_openai.cjs PORT URL (the model's server, without /v1)
const express = require('express');
const OpenAI = require('openai').default;

const [port, url] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
const app = express();
app.use(express.json());

app.post('/v1/chat/completions', async (req, res) => {
  res.setHeader('Content-Type', 'text/event-stream');
  res.setHeader('Cache-Control', 'no-cache');

  const { messages } = req.body;
  const chunks = await client.chat.completions.create({ model: 'm', messages, stream: true });
  for await (const chunk of chunks) res.write(`data: ${JSON.stringify(chunk)}\n\n`);
  res.end('data: [DONE]\n\n');
});

app.listen(Number(port), '127.0.0.1', 4096);
