// Whether the server can be reached, as the requests of this page tell, and who is looking.

import { element, one } from "./elements.js";

/** A server that restarts is away for a moment; nobody need hear of that. */
const ALARM_AFTER_MS = 600;
/** How long the page says that the server is back. */
const RELIEF_MS = 3000;
/** Long enough for a glance at another tab. */
const HIDDEN_MS = 5000;

/** Tells on the page whether the server answers. Its `fetch` is the browser's, and watches. */
export class Connection {
  isOffline = false;
  #timer;
  #lost = false;
  #onChange;

  constructor(onChange) {
    this.#onChange = onChange;
    addEventListener("offline", () => this.report(false));
    addEventListener("online", () => this.fetch("/health").catch(() => {}));
  }

  fetch = async (input, init) => {
    try {
      const response = await fetch(input, init);
      this.report(true);
      return response;
    } catch (error) {
      if (!init?.signal?.aborted) this.report(false);
      throw error;
    }
  };

  report(reached) {
    if (reached !== this.#lost) return;
    this.#lost = !reached;
    clearTimeout(this.#timer);
    if (reached) {
      this.#show(this.isOffline ? "back" : "online");
      this.#timer = setTimeout(() => this.#show("online"), RELIEF_MS);
    } else {
      this.#timer = setTimeout(() => this.#show("offline"), ALARM_AFTER_MS);
    }
  }

  #show(state) {
    this.isOffline = state === "offline";
    const mark = one(".connection");
    mark.dataset.state = this.isOffline ? "offline" : "online";
    mark.textContent = this.isOffline ? "Reconnecting" : "Connected";
    const banner = one(".banner");
    banner.dataset.connection = state;
    const texts = { offline: "Server unreachable — reconnecting…", back: "The server is back." };
    banner.replaceChildren(...(texts[state] ? [element("p", {}, texts[state])] : []));
    one("main").dataset.offline = this.isOffline;
    this.#onChange();
  }
}

/**
 * Run `follow(signal)` again and again until it gives true, while there is a network and somebody may be looking: a
 * browser opens six HTTP/1.1 connections to one server, for all tabs together, so a tab that has been hidden for a while
 * gives its own back.
 */
export async function whileLooking(follow) {
  for (;;) {
    await wanted();
    const closing = new AbortController();
    const { signal } = closing;
    let hiding;
    addEventListener("offline", () => closing.abort(), { signal });
    document.addEventListener(
      "visibilitychange",
      () => {
        clearTimeout(hiding);
        if (document.hidden) hiding = setTimeout(() => closing.abort(), HIDDEN_MS);
      },
      { signal },
    );
    try {
      if (await follow(signal)) return;
    } finally {
      clearTimeout(hiding);
      closing.abort();
    }
  }
}

function wanted() {
  return new Promise((resolve) => {
    const listening = new AbortController();
    const look = () => {
      if (document.hidden || !navigator.onLine) return;
      listening.abort();
      resolve();
    };
    addEventListener("online", look, { signal: listening.signal });
    document.addEventListener("visibilitychange", look, { signal: listening.signal });
    look();
  });
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
