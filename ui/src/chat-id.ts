// Which chat the page shows: in the URL, so that a reload, a bookmark and a second tab find it.

import { useEffect, useState } from "react";

const VALID_ID = /^[a-zA-Z0-9_-]{1,64}$/;

export function newChatId(): string {
  // Not crypto.randomUUID: that exists on https and localhost only, and the demo may be opened by IP address.
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
}

export function urlOfChat(chatId: string): string {
  return `?chat=${chatId}`;
}

function chatIdOfUrl(): string | null {
  const id = new URLSearchParams(location.search).get("chat");
  return id && VALID_ID.test(id) ? id : null;
}

/** Given while the page loads, so that whoever copies the URL of a page that has loaded gets one with a chat in it. */
const firstChatId = chatIdOfUrl() ?? newChatId();
history.replaceState(null, "", urlOfChat(firstChatId));

/** The current chat, and how to go to another one. Back and forward work. */
export function useChatId(): [string, (chatId: string) => void] {
  const [chatId, setChatId] = useState(firstChatId);

  useEffect(() => {
    const onPopState = () => setChatId((current) => chatIdOfUrl() ?? current);
    addEventListener("popstate", onPopState);
    return () => removeEventListener("popstate", onPopState);
  }, []);

  const open = (next: string) => {
    if (next === chatId) return;
    history.pushState(null, "", urlOfChat(next));
    setChatId(next);
  };
  return [chatId, open];
}
