// The stock readers of the AI SDK, versions 5, 6 and 7, as a filter: one JSON case a line in, one result a line out.
// Run with tests/npm as the working directory, where the packages are.
//
//   {kind: "read", version, message?, chunks}           -> {messages, errors}: `readUIMessageStream` over the chunks
//   {kind: "partial", version, text}                    -> {value?}: `parsePartialJson`
//   {kind: "chat", version, messages, op, sse, status}  -> {messages, status, error?, data, toolCalls, request}: a chat
//       that holds `messages` and does `op` ("resume" or a message to submit) with `sse` as the response
import readline from 'node:readline';

const sdks = { 5: await import('ai5'), 6: await import('ai6'), 7: await import('ai') };

function streamOf(chunks) {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
}

async function read({ version, message, chunks }) {
  const errors = [];
  const byId = new Map();
  const messages = sdks[version].readUIMessageStream({
    message,
    stream: streamOf(chunks),
    onError: error => errors.push(String(error?.message ?? error)),
  });
  for await (const snapshot of messages) byId.set(snapshot.id, snapshot);
  return { messages: [...byId.values()], errors };
}

async function partial({ version, text }) {
  return { value: (await sdks[version].parsePartialJson(text)).value };
}

// What every framework's chat keeps, as plain as can be.
class State {
  status = 'ready';
  error = undefined;
  constructor(messages) {
    this.messages = messages;
  }
  pushMessage = message => {
    this.messages = [...this.messages, structuredClone(message)];
  };
  popMessage = () => {
    this.messages = this.messages.slice(0, -1);
  };
  replaceMessage = (index, message) => {
    this.messages = this.messages.map((old, at) => (at === index ? structuredClone(message) : old));
  };
  snapshot = value => structuredClone(value);
}

async function chat({ version, messages, op, sse, status = 200 }) {
  const { AbstractChat, DefaultChatTransport } = sdks[version];
  const state = new State(messages);
  const data = [];
  const toolCalls = [];
  let request;
  const fetch = async (url, init) => {
    request = { url: String(url), method: init.method ?? 'GET', body: init.body && JSON.parse(init.body) };
    return new Response(status === 204 ? null : sse, { status, headers: { 'content-type': 'text/event-stream' } });
  };
  class Chat extends AbstractChat {}
  const instance = new Chat({
    id: 'c1',
    state,
    transport: new DefaultChatTransport({ api: 'http://test/api/chat', fetch }),
    onData: part => data.push(part),
    onToolCall: ({ toolCall }) => void toolCalls.push(toolCall.toolCallId),
  });
  if (op === 'resume') await instance.resumeStream();
  else if (op === 'continue') await instance.sendMessage();
  else await instance.sendMessage(op);
  return { messages: state.messages, status: state.status, error: state.error?.message, data, toolCalls, request };
}

const kinds = { read, partial, chat };
for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const { kind, ...rest } = JSON.parse(line);
  let result;
  try {
    result = await kinds[kind](rest);
  } catch (error) {
    result = { crashed: String(error?.stack ?? error) };
  }
  process.stdout.write(JSON.stringify(result) + '\n');
}
