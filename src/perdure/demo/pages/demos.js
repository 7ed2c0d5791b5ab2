// One list of the streams of all chats, whichever front end they are of, while somebody looks at it.

import { element, one, reconcile } from "./elements.js";
import { NAMES, urlOf } from "./kinds.js";
import { timeAgo } from "./times.js";

const REFRESH_MS = 1000;

let timer;

async function refresh() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    const response = await fetch("/api/chats");
    if (response.ok) show((await response.json()).chats);
    one("main").dataset.offline = "false";
  } catch {
    one("main").dataset.offline = "true"; // the next try comes soon
  }
  clearTimeout(timer);
  timer = setTimeout(refresh, REFRESH_MS);
}

function show(chats) {
  one(".streams").hidden = chats.length === 0;
  reconcile(
    one(".streams tbody"),
    chats.map((chat) => [chat.stream, JSON.stringify([chat, timeAgo(chat.updatedAt)]), (there) => row(chat, there)]),
  );
}

/** A row that is there already keeps its link, and with that the keyboard's focus. */
function row(chat, there) {
  const made = element(
    "tr",
    {},
    element("th", { scope: "row" }, element("a", { href: urlOf(chat) })),
    element("td", {}, NAMES[chat.kind]),
    element("td", {}, element("code", {}, chat.stream)),
    element("td"),
    element("td"),
  );
  const shown = there ?? made;
  const [title, , , records, state] = shown.children;
  shown.dataset.testid = "stream";
  shown.dataset.kind = chat.kind;
  shown.dataset.active = String(chat.active);
  title.firstChild.textContent = chat.title;
  records.textContent = chat.records.toLocaleString("en");
  state.textContent = chat.active ? "answering…" : timeAgo(chat.updatedAt);
  return shown;
}

document.addEventListener("visibilitychange", refresh);
void refresh();
