// A chat on the Anthropic Messages API: load the history, follow the log from there, and send. What is shown comes from
// the log alone, so every tab shows the same, the one that asked too.

import { createChatClient } from "/web/anthropic.js";
import { keepChatList } from "./chat-list.js";
import { Composer } from "./composer.js";
import { Connection, pause } from "./connection.js";
import { one } from "./elements.js";
import { showInfo, startFrame } from "./frame.js";
import { followEnd } from "./scroll.js";
import { showTurns } from "./thread.js";
import { Transcript } from "./transcript.js";

const API = "/api/anthropic/chat";
const RETRY_MS = 1000;
/** Often enough to look like typing, seldom enough to lay out long answers. */
const RENDER_EVERY_MS = 40;
/** After that long without an event the page asks whether there is still somebody who writes. */
const QUIET_MS = 2500;

const chatId = idOfUrl() ?? newId();
history.replaceState(null, "", `?chat=${chatId}`);

const connection = new Connection(() => composer.update({ offline: connection.isOffline }));
const composer = new Composer({ key: `anthropic-draft-${chatId}`, onSend: send, onStop: stop });
const follow = followEnd();
let client;
let transcript;
let submitted = false;
let taken = false;
let quiet;
let rendering;

startFrame();
for (const link of document.querySelectorAll("#second-tab, .same-chat")) link.href = `?chat=${chatId}`;
for (const opener of document.querySelectorAll(".openers button")) opener.onclick = () => send(opener.textContent);
const refreshList = keepChatList({
  kind: "anthropic",
  chatId,
  onTitle(title) {
    one("h1").textContent = title ?? "New chat";
    document.title = title ? `${title} · Perdure` : "Perdure · Anthropic";
  },
  onRemoved: () => location.assign("/anthropic"),
});
showInfo().catch(() => {});
void followLog();

/** The log of this chat, from the history on, for as long as the page is open. */
async function followLog() {
  for (;;) {
    try {
      client = newClient();
      transcript = new Transcript(await client.loadHistory());
      transcript.busy = await isActive();
      show();
      follow();
      const { events } = await client.subscribe({ stopOnTerminal: false, whileVisible: true });
      for await (const event of events) take(event);
    } catch (error) {
      console.warn("The log is read anew.", error); // the server is away, or the chat was deleted
    }
    await pause(RETRY_MS);
  }
}

function newClient() {
  return createChatClient({
    sendUrl: API,
    subscribeUrl: (cursor) => `${API}/stream?id=${chatId}&live=1${cursor === undefined ? "" : `&from=${cursor}`}`,
    historyUrl: `${API}/history?id=${chatId}`,
    stopUrl: `${API}?id=${chatId}`,
    fetch: connection.fetch,
  });
}

function take(event) {
  const turns = transcript.turns.length;
  transcript.push(event);
  submitted = false;
  rendering ??= setTimeout(show, RENDER_EVERY_MS);
  if (transcript.turns.length > turns) {
    show();
    follow(); // whoever asks wants to see the answer
    void refreshList();
  }
}

function show() {
  clearTimeout(rendering);
  rendering = undefined;
  const { turns, busy } = transcript;
  one(".loading").hidden = true;
  one(".empty-chat").hidden = turns.length > 0 || submitted;
  one(".thread").hidden = turns.length === 0;
  showTurns(one(".thread"), turns, busy);
  const status = submitted ? "submitted" : busy ? "streaming" : "ready";
  if (composer.update({ status })) void refreshList();
  composer.show();
  clearTimeout(quiet);
  if (busy || submitted) quiet = setTimeout(checkActive, QUIET_MS);
}

/** Not every end is an event: a stop between two messages of a tool loop writes none. */
async function checkActive() {
  // A question that was taken comes back at once, unless this page reads a log that was deleted in another tab.
  if (submitted && taken) return location.reload();
  const active = await isActive().catch(() => true);
  if (!active) {
    transcript.busy = false;
    submitted = false;
  }
  show();
}

/** Whether an answer is being written: a replay from beyond the end has nothing to say, unless there is more to come. */
async function isActive() {
  const closing = new AbortController();
  const url = `${API}/stream?id=${chatId}&from=${Number.MAX_SAFE_INTEGER}`;
  const { status } = await connection.fetch(url, { signal: closing.signal });
  closing.abort();
  return status === 200;
}

/** Ask; what comes of it, comes by the log. */
async function send(text) {
  if (!transcript || transcript.busy || submitted) return;
  submitted = true;
  taken = false;
  composer.notice();
  show();
  const refused = await refusal(text);
  taken = refused === undefined;
  if (taken) return;
  submitted = false;
  composer.giveBack(text, refused);
  show();
}

/** Post a question; gives why it was not taken, if it was not. */
async function refusal(text) {
  try {
    const { cancel } = await client.send({ id: chatId, text });
    cancel(); // the log shows the answer
    return undefined;
  } catch ({ status }) {
    if (status === 409) return "Another tab was faster, so your message is back in the box.";
    if (status) return `The server refused your message (HTTP ${status}), so it is back in the box.`;
    return "Your message did not get through, so it is back in the box.";
  }
}

/** Ends the answer for every tab, wherever it is written. */
async function stop() {
  try {
    await client.stop();
    await checkActive();
  } catch {
    composer.notice("The server could not be told to stop. Try again.");
  }
}

function idOfUrl() {
  const id = new URLSearchParams(location.search).get("chat");
  return id && /^[a-zA-Z0-9_-]{1,64}$/.test(id) ? id : null;
}

function newId() {
  // Not crypto.randomUUID: that exists on https and localhost only, and the demo may be opened by IP address.
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
}
