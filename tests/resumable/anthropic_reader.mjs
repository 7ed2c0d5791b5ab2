// The stock JavaScript SDK as a reader of replays: one JSON case a line in, one result a line out.
// Run with tests/npm as the working directory, where the package is.
//
//   {baseURL, kind: "events"}   -> {events, error?}: what `messages.create({stream: true})` hands out
//   {baseURL, kind: "message"}  -> {message, error?}: what `messages.stream()` makes of it
import readline from 'node:readline';
import Anthropic from '@anthropic-ai/sdk';

const params = { model: 'claude-test', max_tokens: 10, messages: [{ role: 'user', content: 'hi' }] };

async function events(client) {
  const found = [];
  try {
    for await (const event of await client.messages.create({ ...params, stream: true })) found.push(event);
  } catch (error) {
    return { events: found, error: String(error?.message ?? error) };
  }
  return { events: found };
}

async function message(client) {
  try {
    return { message: await client.messages.stream(params).finalMessage() };
  } catch (error) {
    return { error: String(error?.message ?? error) };
  }
}

const kinds = { events, message };
for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const { kind, baseURL } = JSON.parse(line);
  const client = new Anthropic({ apiKey: 'test', baseURL, maxRetries: 0 });
  process.stdout.write(JSON.stringify(await kinds[kind](client)) + '\n');
}
