// The connection of the stock `useChat` to the session log of a chat.

import type { UIMessage } from "@tanstack/ai-react";
import { createS2Connection, HttpError } from "../../../src/perdure/web/tanstack-ai.js";
import type { WatchStatus } from "../../../src/perdure/web/aisdk.js";

const API = "/api/tanstack/chat";

/** Waits before each reconnect, the last one again and again. */
const RECONNECT_MS = [0, 250, 500, 1000, 2000];

interface SessionEvents {
  /** The server sends the log from now on. */
  onOpen: () => void;
  onStatus: (status: WatchStatus) => void;
  /** What this tab has sent, a question or a decision, was not taken. */
  onRefused: (error: unknown, sent: UIMessage | undefined) => void;
}

/** `events` gives the listeners of the moment. */
export function createSession(chatId: string, events: () => SessionEvents) {
  const connection = createS2Connection({
    mode: "session",
    sendUrl: API,
    subscribeUrl: `${API}/replay?id=${chatId}&live=1`,
    body: { id: chatId },
    reconnectBackoffMs: RECONNECT_MS,
    fetch: watchedFetch,
  });

  async function watchedFetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
    try {
      const response = await fetch(input, init);
      events().onStatus({ state: "connected" });
      if (response.ok && init?.method !== "POST") events().onOpen();
      return response;
    } catch (error) {
      if (!init?.signal?.aborted) events().onStatus({ state: "reconnecting", error, retryInMs: RECONNECT_MS.at(-1)! });
      throw error;
    }
  }

  return {
    ...connection,
    async send(...sent: Parameters<typeof connection.send>): Promise<void> {
      try {
        await connection.send(...sent);
      } catch (error) {
        events().onRefused(error, sent[0].at(-1) as UIMessage | undefined);
        throw error;
      }
    },
  };
}

/** Whether another tab was faster. */
export function isConflict(error: unknown): boolean {
  return error instanceof HttpError && error.status === 409;
}

/** Ends the running answer for everybody; false when there was none. */
export async function stopAnswer(chatId: string): Promise<boolean> {
  const init = { method: "DELETE", headers: { "content-type": "application/json" }, body: JSON.stringify({ id: chatId }) };
  const response = await fetch(API, init);
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return response.status !== 204;
}
