// What ends a wait of these modules: its time, an abort, a silence, or that nobody looks.

import { whenHidden } from "./visibility.js";

/** Servers ping every 15 s. A connection that was silent for three pings is dead, though the browser may not know. */
const SILENCE_MS = 45_000;

/** Resolves after `ms` (never, when undefined), when aborted, or when the function given to `onWakeable` is called. */
export function pause(ms, signal, onWakeable) {
  return new Promise((resolve) => {
    const finish = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", finish);
      resolve();
    };
    const timer = ms === undefined ? undefined : setTimeout(finish, ms);
    signal?.addEventListener("abort", finish);
    onWakeable?.(finish);
    if (signal?.aborted) finish();
  });
}

/** A pause before a retry, which is due at once when the browser says that it has a network again. */
export async function pauseBeforeRetry(ms, signal) {
  let retry;
  try {
    await pause(ms, signal, (wake) => globalThis.addEventListener?.("online", (retry = wake)));
  } finally {
    globalThis.removeEventListener?.("online", retry);
  }
}

/** A controller that is aborted with `outer`, or alone. By hand, since AbortSignal.any is younger than browsers in use. */
export function linkedController(outer) {
  const controller = new AbortController();
  if (outer?.aborted) controller.abort(outer.reason);
  outer?.addEventListener("abort", () => controller.abort(outer.reason), { signal: controller.signal });
  return controller;
}

/**
 * What a request may be ended by: `closing`, a silence, or, with `whileVisible`, a page that stays hidden. Close it when the
 * request is over.
 */
export class Connection {
  /** Whether it was ended because the page was hidden. */
  isLetGo = false;
  #controller;
  #silenceMs;
  #timer;
  #ceaseLooking;

  constructor(closing, silenceMs, { whileVisible = false } = {}) {
    this.#controller = linkedController(closing);
    this.limitSilence(silenceMs);
    if (whileVisible) this.#ceaseLooking = whenHidden(() => this.#letGo());
  }

  get signal() {
    return this.#controller.signal;
  }

  /** From now on it is given up after `silenceMs` without a byte; null: never. */
  limitSilence(silenceMs = SILENCE_MS) {
    this.#silenceMs = silenceMs;
    this.isAlive();
  }

  /** A byte came: the silence begins anew. */
  isAlive() {
    clearTimeout(this.#timer);
    if (this.#silenceMs === null || this.signal.aborted) return;
    this.#timer = setTimeout(() => this.#controller.abort(new Error("the connection fell silent")), this.#silenceMs);
  }

  close() {
    clearTimeout(this.#timer);
    this.#ceaseLooking?.();
    this.#controller.abort();
  }

  #letGo() {
    if (this.signal.aborted) return;
    this.isLetGo = true;
    this.#controller.abort(new Error("the page is hidden"));
  }
}
