// The list of chats beside the conversation, of this page and of the others.

import { element, one, reconcile } from "./elements.js";
import { NAMES, urlOf } from "./kinds.js";
import { timeAgo } from "./times.js";

const REFRESH_MS = 3000;

/** Keep the list fresh while somebody looks. Gives a function that refreshes it now. */
export function keepChatList({ kind, chatId, onTitle, onRemoved }) {
  let timer;
  const isCurrent = (chat) => chat.kind === kind && chat.id === chatId;

  async function refresh() {
    clearTimeout(timer);
    if (document.hidden) return;
    try {
      show((await (await fetch("/api/chats")).json()).chats);
    } catch {
      // The connection of the open chat tells that the server is away, and the next try comes soon.
    }
    clearTimeout(timer);
    timer = setTimeout(refresh, REFRESH_MS);
  }

  function show(chats) {
    one(".chat-list").hidden = chats.length === 0;
    one(".chat-list-empty").hidden = chats.length > 0;
    const list = one(".chat-list");
    if (list.querySelector(".confirm")) return; // somebody is about to answer
    reconcile(
      list,
      chats.map((chat) => [`${chat.kind} ${chat.id}`, JSON.stringify([chat, timeAgo(chat.updatedAt)]), () => item(chat)]),
    );
    onTitle(chats.find(isCurrent)?.title);
  }

  function item(chat) {
    const when = chat.active ? "answering…" : timeAgo(chat.updatedAt);
    const link = element(
      "a",
      { href: urlOf(chat), "aria-current": isCurrent(chat) ? "page" : undefined },
      element("span", { class: "chat-title" }, chat.title),
      element("span", { class: "chat-when" }, chat.kind === kind ? when : `${NAMES[chat.kind]} · ${when}`),
    );
    const cross = one("template#cross").content.cloneNode(true);
    const ask = element(
      "button",
      { class: "quiet", "aria-label": `Delete “${chat.title}”`, title: "Delete", onclick: () => askToDelete(chat, ask) },
      cross,
    );
    const about = { class: "chat-list-item", "data-testid": "chat-list-item", "data-chat-id": chat.id, "data-active": String(chat.active) };
    return element("li", about, link, ask);
  }

  function askToDelete(chat, ask) {
    const answering = new AbortController();
    const confirm = element("button", { class: "confirm", onclick: remove }, "Delete?");
    ask.replaceWith(confirm);
    confirm.focus();
    confirm.addEventListener("blur", giveUp, { signal: answering.signal });

    function giveUp() {
      answering.abort(); // an element that is taken away while it has the focus is told that it loses it
      confirm.replaceWith(ask);
    }

    async function remove() {
      giveUp();
      await fetch(`/api/chats/${chat.id}?kind=${chat.kind}`, { method: "DELETE" }).catch(() => {});
      if (isCurrent(chat)) onRemoved();
      else await refresh();
    }
  }

  document.addEventListener("visibilitychange", refresh);
  void refresh();
  return refresh;
}
