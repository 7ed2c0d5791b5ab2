// The list of chats, kept fresh while somebody looks at it.

import { useCallback, useEffect, useState } from "react";
import { type ChatSummary, deleteChat, getChats } from "./server";
import { useVisible } from "./visibility";

const REFRESH_MS = 3000;

export interface Chats {
  list: ChatSummary[];
  refresh: () => void;
  remove: (chat: ChatSummary) => Promise<void>;
}

export function useChats(): Chats {
  const [list, setList] = useState<ChatSummary[]>([]);
  const visible = useVisible();

  const refresh = useCallback(() => {
    // A failure here needs no words: the open chat tells that the server is away, and the next try comes soon.
    getChats().then(setList, () => {});
  }, []);

  useEffect(() => {
    if (!visible) return;
    refresh();
    const timer = setInterval(refresh, REFRESH_MS);
    return () => clearInterval(timer);
  }, [visible, refresh]);

  const remove = useCallback(
    async (removed: ChatSummary) => {
      await deleteChat(removed);
      setList((chats) => chats.filter((chat) => chat.id !== removed.id || chat.kind !== removed.kind));
      refresh();
    },
    [refresh],
  );

  return { list, refresh, remove };
}
