// Whether the server can be reached, as the requests of this page tell.

import { element, one } from "./elements.js";

/** A server that restarts is away for a moment; nobody need hear of that. */
const ALARM_AFTER_MS = 600;
/** How long the page says that the server is back. */
const RELIEF_MS = 3000;

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

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
