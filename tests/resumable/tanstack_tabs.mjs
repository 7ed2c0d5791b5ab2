// Open tabs of a page: stock `ChatClient`s on the connections of web/tanstack-ai.js, told what to do line by line. Run with
// tests/npm as the working directory, where the packages are. Each command gets one line as its answer: what the tab shows.
//
//   {do: "open", tab, version, make, options, threadId}   `make`: the function that makes the connection
//   {do: "send", tab, text}     without waiting for the answer; {do: "settled", tab}: wait for it
//   {do: "until", tab, messages?, ...state}               wait until the tab shows this
//   {do: "approve", tab}        what it is asked; {do: "stop", tab}; {do: "close", tab}
import readline from 'node:readline';

const clients = { new: await import('@tanstack/ai-client'), old: await import('tanstack-ai-client-08') };
const connections = await import(process.env.TANSTACK_MODULE);
console.warn = console.error = () => {};
const tabs = {};

function partText({ type, content, name, state }) {
  return type === 'tool-call' ? `${name}: ${state}` : type === 'tool-result' ? '' : content;
}

function shown({ chat, errors }) {
  return {
    messages: chat.getMessages().map(({ role, parts }) => [role, parts.map(partText).filter(Boolean).join('|')]),
    loading: chat.getIsLoading(),
    generating: chat.getSessionGenerating(),
    asked: chat.getInterrupts?.().map(({ id }) => id) ?? [],
    errors,
  };
}

const commands = {
  open({ tab, version, make, options, threadId }) {
    const connection = connections[make](options);
    const errors = [];
    const chat = new clients[version].ChatClient({ connection, threadId, onError: error => errors.push(String(error)) });
    tabs[tab] = { chat, connection, errors };
    chat.subscribe();
  },
  send({ tab, text }) {
    tabs[tab].sending = tabs[tab].chat.sendMessage(text);
  },
  settled: ({ tab }) => tabs[tab].sending,
  async until({ do: _, tab, ...wanted }) {
    const isSo = now => Object.keys(wanted).every(key => JSON.stringify(now[key]) === JSON.stringify(wanted[key]));
    const deadline = Date.now() + 30_000;
    while (!isSo(shown(tabs[tab])) && Date.now() < deadline) await new Promise(resolve => setTimeout(resolve, 5));
  },
  async approve({ tab }) {
    const { chat } = tabs[tab];
    const ids = chat.getMessages().flatMap(({ parts }) => parts.flatMap(({ approval }) => approval?.id ?? []));
    for (const id of ids) await chat.addToolApprovalResponse({ id, approved: true });
  },
  async stop({ tab }) {
    tabs[tab].chat.stop();
    await tabs[tab].connection.stop?.();
  },
  close: ({ tab }) => tabs[tab].chat.unsubscribe(),
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let answer;
  try {
    await commands[command.do](command);
    answer = shown(tabs[command.tab]);
  } catch (error) {
    answer = { crashed: String(error?.stack ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
}
process.exit(0);
