// Keeps the `useChat` of an open tab in step with turns that other tabs start, stop or lose.
//
// The stock client resumes only when it mounts. `watchChat` listens to the chat's `watch` route and, when something
// happened that this tab does not run itself, loads the history and joins the running turn.

import { Backoff, get, hasBody, isPermanent } from "./request.js";
import { readFrames } from "./sse.js";
import { untilSeen } from "./visibility.js";
import { Connection, linkedController, pause, pauseBeforeRetry } from "./waiting.js";

/** How often a busy tab is looked at. The stock client does not say when it ceases to be busy. */
const LOOK_MS = 500;

/** Looks without a request of the tab before it is taken to have lost a turn: the body may end just before its event. */
const IDLE_LOOKS = 2;

export function watchChat({ signal: outer, onStatus, ...options }) {
  const closing = linkedController(outer);
  const { signal } = closing;
  const close = () => closing.abort();
  const tell = (status) => signal.aborted || callOut(onStatus, status);
  const end = (error) => {
    tell({ state: "ended", error });
    close();
  };
  const tab = new Tab({ ...options, signal }, end);
  tab.follow();
  listen({ ...options, signal }, tab, tell, end);
  return { close };
}

/** Hold the watch connection until closed, and hand its events to the tab. */
async function listen(options, tab, tell, end) {
  const { watchUrl, signal, whileVisible } = options;
  const backoff = new Backoff(options.reconnectBackoffMs);
  while (!signal.aborted) {
    let error;
    const connection = new Connection(signal, undefined, options);
    try {
      const response = await get(watchUrl, { ...options, signal: connection.signal });
      if (!hasBody(response)) return end();
      tell({ state: "connected" });
      const reading = { onBytes: () => connection.isAlive(), signal: connection.signal };
      for await (const { event, data } of readFrames(response.body, reading)) {
        backoff.reset();
        if (event === "generation") tab.hear(data);
      }
    } catch (reason) {
      if (isPermanent(reason)) return end(reason);
      error = reason;
    } finally {
      connection.close();
    }
    if (!connection.isLetGo) {
      const retryInMs = backoff.next();
      if (retryInMs === undefined) return end(error);
      tell({ state: "reconnecting", error, retryInMs });
      await pauseBeforeRetry(retryInMs, signal);
    }
    if (whileVisible) await untilSeen(signal); // the first event of a connection says all that was missed
  }
}

/**
 * One tab's chat, brought to where the server is.
 *
 * Events only change what is known; `follow` compares that with the chat, one round at a time. So an event that
 * arrives while a round runs is never lost, and of ten that arrive only the last one matters.
 */
class Tab {
  #options;
  #signal;
  #end;
  #backoff;
  #wake = () => {};
  #woken = false;

  /** The last event: what the server does. Null until the first one. */
  #turn = null;
  /** All turns that ended before this sequence number are in the chat's messages. */
  #handled = 0;
  /** The generation that a request of this tab receives: its own POST, or a resume. */
  #mine = undefined;
  /** Whether that request is known to be the POST that started it, sent when the tab had all that was before. */
  #ownPost = false;
  #idleLooks = 0;

  constructor(options, end) {
    this.#options = options;
    this.#signal = options.signal;
    this.#end = end;
    this.#backoff = new Backoff(options.reconnectBackoffMs);
  }

  hear(data) {
    let turn;
    try {
      turn = JSON.parse(data);
    } catch {}
    if (!turn) return;
    // Now, not in a later round: the stock client is busy before its POST leaves, so if it is not busy at the start
    // of a generation, it did not ask for it.
    const chat = this.#chat;
    if (turn.active && chat && isBusy(chat) && turn.generationStart !== this.#mine) {
      this.#mine = turn.generationStart;
      this.#ownPost = turn.event === "start" && !this.#isBehind && hasAsked(chat);
    }
    if (turn.nextSeqNum < this.#handled) this.#handled = -1; // a log that began anew: the chat was deleted
    this.#turn = turn;
    this.#idleLooks = 0;
    this.#woken = true;
    this.#wake();
  }

  async follow() {
    while (!this.#signal.aborted) {
      this.#woken = false;
      let waitMs;
      try {
        waitMs = await this.#round();
        this.#backoff.reset();
      } catch (error) {
        if (this.#signal.aborted) return;
        if (isPermanent(error)) return this.#end(error);
        waitMs = this.#backoff.next();
      }
      if (!this.#woken) await pause(waitMs, this.#signal, (wake) => (this.#wake = wake));
    }
  }

  /** Do what the situation asks for; answer when to look again, undefined for not before the next event. */
  async #round() {
    if (!this.#isBehind) return undefined;
    if (isBusy(this.#chat)) return LOOK_MS;
    const turn = this.#turn;
    if (turn.active) return this.#attach(turn);
    if (this.#ranToItsEnd(turn)) this.#handled = turn.nextSeqNum;
    else await this.#refresh(turn);
    return 0; // whether anything is left, the next round sees
  }

  async #attach(turn) {
    this.#ownPost = false; // a turn still runs and the chat is idle: refused, dropped, or never its own
    if (turn.generationStart === this.#mine && ++this.#idleLooks < IDLE_LOOKS) return LOOK_MS;
    const history = await this.#refresh(turn);
    const { active, generationStart } = this.#turn;
    if (!active || generationStart !== turn.generationStart || isBusy(this.#chat)) return 0;
    this.#mine = generationStart;
    this.#idleLooks = 0;
    if (history.active) await this.#resume();
    return LOOK_MS;
  }

  async #resume() {
    const chat = this.#chat;
    if (chat.status === "error" && chat.stop) {
      // After a dropped body the client would let a resume continue the cut message, and version 5 does so although
      // the resumed body starts anew: the text is there twice. A stopped resume makes it forget; no request leaves.
      const forgetting = chat.resumeStream();
      await chat.stop();
      await forgetting;
      if (this.#signal.aborted || isBusy(this.#chat)) return;
    }
    try {
      await this.#chat.resumeStream();
    } catch {
      // Failures show in the chat's status; what is thrown comes from a callback of the page.
    }
  }

  /** Load the history and show it, unless the tab began a request of its own meanwhile. */
  async #refresh(turn) {
    const { historyUrl, onReplace } = this.#options;
    const response = await get(historyUrl, this.#options);
    const history = await response.json();
    this.#signal.throwIfAborted();
    const chat = this.#chat;
    if (isBusy(chat)) return history;
    const before = chat.messages ?? [];
    const after = history.messages;
    const kept = new Set(after.map((message) => message.id));
    if (before.some((message) => !kept.has(message.id))) callOut(onReplace, before, after);
    if (chat.setMessages) chat.setMessages(after);
    else chat.messages = after;
    this.#handled = Math.max(this.#handled, history.nextSeqNum, turn.active ? 0 : turn.nextSeqNum);
    return history;
  }

  /** Whether the chat shows all of the turn that ended because its own POST brought it. When in doubt, it does not. */
  #ranToItsEnd(turn) {
    const chat = this.#chat;
    if (!this.#ownPost || turn.generationStart !== this.#mine || turn.event !== "end") return false;
    return chat.status === "ready" && isWhole(chat.messages?.at(-1));
  }

  get #isBehind() {
    return this.#turn !== null && (this.#turn.active || this.#turn.nextSeqNum > this.#handled);
  }

  /** Asked for every time: hooks make a new object for each render. A page that has none yet counts as busy. */
  get #chat() {
    return this.#options.getChat();
  }
}

function isBusy(chat) {
  return !chat || chat.status === "submitted" || chat.status === "streaming";
}

/** Whether a busy chat posted: some versions are busy, too, while they find out that there is nothing to resume. */
function hasAsked(chat) {
  return chat.status === "streaming" || chat.messages?.at(-1)?.role === "user";
}

/** Whether a message is an answer all parts of which have ended; after a `stop()` of the stock client some have not. */
function isWhole(message) {
  return message?.role === "assistant" && !message.parts.some(({ state }) => /streaming$/.test(state));
}

/** Call a function of the page; what it throws is the page's to hear about and must not end the watching. */
function callOut(callback, ...values) {
  try {
    callback?.(...values);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
