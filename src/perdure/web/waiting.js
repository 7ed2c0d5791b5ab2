// What ends a wait of these modules: its time, an abort, or a silence.

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

/** A controller that is aborted with `outer`, or alone. By hand, since AbortSignal.any is younger than browsers in use. */
export function linkedController(outer) {
  const controller = new AbortController();
  if (outer?.aborted) controller.abort(outer.reason);
  outer?.addEventListener("abort", () => controller.abort(outer.reason), { signal: controller.signal });
  return controller;
}

/** What a request may be ended by: `closing`, or a silence. Close it when the request is over. */
export class Connection {
  #controller;
  #silenceMs;
  #timer;

  constructor(closing, silenceMs) {
    this.#controller = linkedController(closing);
    this.limitSilence(silenceMs);
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
    this.#controller.abort();
  }
}
