// Never run: the connections fit the stock clients, the newest and the older one, as their types have it.

import type { ConnectionAdapter } from "../../npm/node_modules/@tanstack/ai-client";
import { useChat } from "../../npm/node_modules/@tanstack/ai-react";
import type { ConnectionAdapter as OlderConnectionAdapter } from "../../npm/node_modules/tanstack-ai-client-08";
import { createConnection, createS2Connection, HttpError } from "../../../src/perdure/web/tanstack-ai.js";

export function page(id: string) {
  const connection = createS2Connection({
    mode: "session",
    sendUrl: "/api/chat",
    stopUrl: () => new URL("/api/chat", location.href),
    subscribeUrl: `/api/chat/replay?id=${id}&live=1`,
    headers: async () => ({ authorization: "Bearer token" }),
    credentials: "include",
    body: (messages, data) => ({ id, count: messages.length, mood: data?.["mood"] }),
    reconnectBackoffMs: [0, 1000],
    silenceMs: 60_000,
  });
  const { stop } = useChat({ connection, live: true, threadId: id });
  return () => (stop(), connection.stop());
}

export const fits: ConnectionAdapter[] = [
  createConnection({ sendUrl: "/api/chat", subscribeUrl: (cursor) => `/replay?from=${cursor ?? 0}`, body: { id: 1 } }),
  createS2Connection({ sendUrl: "/api/chat" }),
  createS2Connection({ sendUrl: "/api/chat", subscribeUrl: "/replay", mode: "shared" }),
];

export const fitsOlder: OlderConnectionAdapter[] = [
  createConnection({ sendUrl: "/api/chat", subscribeUrl: "/replay" }),
  createS2Connection({ sendUrl: "/api/chat", stopUrl: "/api/chat" }),
  createS2Connection({ sendUrl: "/api/chat", subscribeUrl: "/replay", mode: "session" }),
];

export async function alone(): Promise<void> {
  const answering = createS2Connection<{ type: string }>({ sendUrl: "/api/chat", mode: "single-use" });
  try {
    for await (const { type } of answering.connect([], { mood: "good" }, new AbortController().signal)) type.trim();
    await answering.stop?.();
  } catch (error) {
    if (error instanceof HttpError) error.status.toFixed();
  }
  // @ts-expect-error a session has a route to subscribe to
  createS2Connection({ mode: "session", sendUrl: "/api/chat" });
  // @ts-expect-error and only a connection without one answers where it is sent to
  createS2Connection({ sendUrl: "/api/chat", subscribeUrl: "/replay" }).connect([]);
}
