// The stock `useChat`, live on the log of a chat.

import { type UIMessage, useChat } from "@tanstack/ai-react";
import { useRef, useState } from "react";
import type { WatchStatus } from "../../../src/perdure/web/aisdk.js";
import { createSession } from "./session";

interface SessionChatOptions {
  chatId: string;
  live: boolean;
  initialMessages: UIMessage[];
  onStatus: (status: WatchStatus) => void;
  onRefused: (error: unknown, sent: UIMessage | undefined) => void;
}

export function useSessionChat({ chatId, live, initialMessages, onStatus, onRefused }: SessionChatOptions) {
  const [isOpen, setOpen] = useState(false);
  const events = useRef({ onOpen: () => setOpen(true), onStatus, onRefused });
  const [connection] = useState(() => createSession(chatId, () => events.current));
  const chat = useChat({ threadId: chatId, connection, live, initialMessages });
  events.current = { onOpen: () => setOpen(true), onStatus, onRefused };
  return { ...chat, isOpen };
}
