// The stock connection of TanStack AI as a filter: one JSON case a line in, one result a line out. Run with tests/npm as
// the working directory, where the packages are.
//
//   {op: "connect", version, url, messages, body, threadId, runId, cutAfter?, times?}  -> {chunks, requests, error?}
//       `cutAfter`: the connection breaks after so many events of each response, at most `times` times
//   {op: "join", url, runId}      -> {chunks, requests, error?}
//   {op: "hydrate", url, threadId, limit?, before?}  -> {hydrated, error?}
//   {op: "chat", url, threadId, text}  -> {messages, status, error?}: a stock `ChatClient` that sends `text`
//   {op: "restore", url, threadId}  -> {asked, after, errors}: a page that is opened anew, and approves what it is asked
import readline from 'node:readline';

const clients = { new: await import('@tanstack/ai-client'), old: await import('tanstack-ai-client-08') };
console.warn = console.error = () => {};

function recorded(requests, cutAfter, times) {
  let left = times ?? 0;
  return async (url, init) => {
    const headers = new Headers(init.headers);
    requests.push([init.method, headers.get('last-event-id'), headers.get('x-run-id') !== null]);
    const response = await fetch(url, init);
    if (!cutAfter || left <= 0 || !response.body) return response;
    left -= 1;
    const reader = response.body.getReader();
    let events = 0;
    const body = new ReadableStream({
      async pull(controller) {
        const { done, value } = await reader.read();
        if (done) return controller.close();
        const text = new TextDecoder().decode(value);
        for (const frame of text.split(/(?<=\n\n)/)) {
          if (events === cutAfter) {
            await reader.cancel();
            return controller.error(new TypeError('network error'));
          }
          if (frame.includes('data:')) events += 1;
          controller.enqueue(new TextEncoder().encode(frame));
        }
      },
    });
    return new Response(body, response);
  };
}

function connectionOf({ version = 'new', url, body, cutAfter, times }, requests) {
  const fetchClient = recorded(requests, cutAfter, times);
  return clients[version].fetchServerSentEvents(url, { body, fetchClient, reconnect: { delayMs: 1 } });
}

async function collected(chunks, requests, stream) {
  try {
    for await (const chunk of stream) chunks.push(chunk);
    return { chunks, requests };
  } catch (error) {
    return { chunks, requests, error: String(error?.name ?? error) };
  }
}

async function restored(connection, threadId) {
  const errors = [];
  const chat = new clients.new.ChatClient({
    connection,
    threadId,
    persistence: true,
    onError: error => errors.push(String(error)),
  });
  chat.attach();
  await until(() => chat.getInterrupts().length > 0);
  const asked = chat.getInterrupts().map(({ id, canResolve }) => ({ id, canResolve }));
  for (const { id } of asked) await chat.addToolApprovalResponse({ id, approved: true });
  const states = () => chat.getMessages().flatMap(({ parts }) => parts.map(({ state }) => state));
  await until(() => errors.length > 0 || (states().includes('complete') && !chat.getIsLoading()));
  return { asked, after: chat.getInterrupts(), errors };
}

async function until(isSo) {
  while (!isSo()) await new Promise(resolve => setTimeout(resolve, 5));
}

async function run(asked) {
  const requests = [];
  const connection = connectionOf(asked, requests);
  const { threadId, runId } = asked;
  if (asked.op === 'connect') {
    return collected([], requests, connection.connect(asked.messages, undefined, undefined, { threadId, runId }));
  }
  if (asked.op === 'join') return collected([], requests, connection.joinRun(runId));
  if (asked.op === 'hydrate') {
    const { limit, before } = asked;
    return { hydrated: await connection.hydrate(threadId, { limit, before }) };
  }
  if (asked.op === 'restore') return restored(connection, threadId);
  const errors = [];
  const chat = new clients[asked.version ?? 'new'].ChatClient({
    connection,
    threadId,
    onError: error => errors.push(String(error)),
  });
  await chat.sendMessage(asked.text);
  return { messages: chat.getMessages(), status: chat.getStatus?.(), requests, errors };
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  let result;
  try {
    result = await run(JSON.parse(line));
  } catch (error) {
    result = { crashed: String(error?.stack ?? error) };
  }
  process.stdout.write(JSON.stringify(result) + '\n');
}
process.exit(0);
