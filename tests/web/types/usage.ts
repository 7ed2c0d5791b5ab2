// Never run: the compiler reads it, and with it all the declarations of the browser modules.

import { watchChat } from "../../../src/perdure/web/aisdk.js";
import {
  accumulateMessage,
  createAccumulator,
  createChatClient,
  HttpError,
  messagesFromEvents,
  subscribe,
  type AnthropicMessage,
  type ChatClient,
  type ChatEvent,
  type ChatHistory,
} from "../../../src/perdure/web/anthropic.js";

export async function chat(id: string, show: (text: string) => void): Promise<void> {
  const client: ChatClient = createChatClient({
    sendUrl: "/api/chat",
    subscribeUrl: (cursor) => `/api/chat/stream?id=${id}&live=1${cursor === undefined ? "" : `&from=${cursor}`}`,
    historyUrl: new URL(`/api/chat/history?id=${id}`, location.href),
    stopUrl: () => `/api/chat?id=${id}`,
    headers: async () => ({ authorization: "Bearer token" }),
    credentials: "include",
    reconnectBackoffMs: [0, 1000],
    silenceMs: null,
  });
  const history: ChatHistory = await client.loadHistory();
  for (const { user, assistant, error, stopped } of history.turns) {
    show(`${user} ${assistant?.content[0]?.["text"] ?? error?.message ?? ""} ${stopped === true}`);
  }
  const { signal } = new AbortController();
  const { events, cancel } = await client.subscribe({ signal, stopOnTerminal: false, whileVisible: true });
  for await (const event of events) {
    const { type }: ChatEvent = event;
    if (type === "message_stop") break;
  }
  cancel();
  try {
    const answer = await client.send({ id, text: "hello" });
    // @ts-expect-error what is sent is read to its end
    await client.send({}, { whileVisible: true });
    for await (const message of messagesFromEvents(answer.events)) show((message satisfies AnthropicMessage).id);
  } catch (error) {
    if (error instanceof HttpError && error.status === 409) await client.stop();
  }
}

export async function generic(): Promise<void> {
  for await (const event of subscribe<{ type: "tick"; at: number }>({ url: "/api/events" })) event.at.toFixed();
  for await (const event of subscribe({ url: new URL("https://example.com"), reconnectBackoffMs: [] })) event["any"];
  const accumulator = createAccumulator();
  accumulator.push({ type: "message_stop" });
  if (accumulator.isDone()) accumulator.finalMessage();
  accumulateMessage([]).usage;
  for await (const event of subscribe({ url: "/api/events", whileVisible: true })) event["any"];
  // @ts-expect-error a subscription needs a URL
  subscribe({});
  // @ts-expect-error and a chat client both of its routes
  createChatClient({ sendUrl: "/api/chat" });
  watchChat({ watchUrl: "/watch", historyUrl: "/history", getChat: () => null, whileVisible: true }).close();
}
