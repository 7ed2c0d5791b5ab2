// The stock `useChat`, and `watchChat` beside it.

import { Chat, useChat } from "@ai-sdk/react";
import { DefaultChatTransport, type UIMessage } from "ai";
import { useEffect, useEffectEvent, useState } from "react";
import { watchChat, type WatchStatus } from "../../src/perdure/web/aisdk.js";
import { CHAT_API, historyUrl, watchUrl } from "./server";

/** A turn that breaks at once each time it is joined must not be joined as fast as the network allows. */
const WATCH_AFTER_ERROR_MS = 1000;

/** Often enough to look like typing, seldom enough to lay out long answers. */
const RENDER_EVERY_MS = 50;

interface WatchedChatOptions {
  chatId: string;
  history: UIMessage[];
  onStatus: (status: WatchStatus) => void;
  /** Messages of this tab are about to be replaced by what the server has. */
  onReplace: (before: UIMessage[], after: UIMessage[]) => void;
}

export function useWatchedChat({ chatId, history, onStatus, onReplace }: WatchedChatOptions) {
  const [chat] = useState(
    () => new Chat<UIMessage>({ id: chatId, messages: history, transport: new DefaultChatTransport({ api: CHAT_API }) }),
  );
  const result = useChat({ chat, resume: true, throttle: RENDER_EVERY_MS });
  const tellStatus = useEffectEvent(onStatus);
  const tellReplace = useEffectEvent(onReplace);

  // A browser opens six HTTP/1.1 connections to one server, for all tabs together. A busy tab has one for its answer and
  // gives back that of the watch; a watch that is opened later catches up by itself.
  const idle = result.status === "ready" || result.status === "error";
  useEffect(() => {
    if (!idle) return;
    const closing = new AbortController();
    const open = () =>
      watchChat<UIMessage>({
        watchUrl: watchUrl(chat.id),
        historyUrl: historyUrl(chat.id),
        getChat: () => chat,
        signal: closing.signal,
        whileVisible: true,
        onStatus: (status) => tellStatus(status),
        onReplace: (before, after) => tellReplace(before, after),
      });
    const timer = setTimeout(open, chat.status === "error" ? WATCH_AFTER_ERROR_MS : 0);
    return () => {
      clearTimeout(timer);
      closing.abort();
    };
  }, [chat, idle]);

  const answering = result.status === "streaming";
  useEffect(() => {
    if (answering) tellStatus({ state: "connected" });
  }, [answering]);

  // The page leaves this chat: the server goes on with the turn, the connection is given back.
  useEffect(() => () => void chat.stop(), [chat]);

  return result;
}
