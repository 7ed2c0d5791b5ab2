// The rules that every request of these modules follows: headers, credentials, errors, waits before a retry.

export const RECONNECT_BACKOFF_MS = [0, 250, 500, 1000, 2000, 5000];

/** An answer outside 2xx. */
export class HttpError extends Error {
  name = "HttpError";

  constructor({ status, statusText }) {
    super(`HTTP ${status} ${statusText}`.trimEnd());
    this.status = status;
  }
}

/** Whether the same request would be refused again. Whatever is no HTTP answer (no network, a broken body) may pass. */
export function isPermanent(error) {
  if (!(error instanceof HttpError)) return false;
  return error.status >= 400 && error.status < 500 && error.status !== 408 && error.status !== 429;
}

/**
 * GET `url`. `headers` is a mapping, a list of pairs, or a function that returns one, also asynchronously: it is asked
 * anew for every request, since tokens expire.
 */
export async function get(url, { headers, credentials = "same-origin", fetch = globalThis.fetch, signal }) {
  const response = await fetch(typeof url === "function" ? url() : url, {
    headers: typeof headers === "function" ? await headers() : headers,
    credentials,
    signal,
  });
  if (response.ok) return response;
  await response.body?.cancel(); // so that the connection can be used again
  throw new HttpError(response);
}

/** The waits between tries: one after the other, the last one for ever. An empty list means no second try. */
export class Backoff {
  #waits;
  #failures = 0;

  constructor(waits = RECONNECT_BACKOFF_MS) {
    this.#waits = waits;
  }

  /** Milliseconds until the next try, or undefined when there is to be none. */
  next() {
    return this.#waits[Math.min(this.#failures++, this.#waits.length - 1)];
  }

  reset() {
    this.#failures = 0;
  }
}
