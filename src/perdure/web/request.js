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
  return error.status < 500 && error.status !== 408 && error.status !== 429;
}

/**
 * The arguments of a call of `fetch`. A URL may be a function. `headers` is a mapping, a list of pairs, or a function that
 * returns one, also asynchronously: it is asked anew for every request, since tokens expire.
 */
export async function prepare(url, { headers, credentials = "same-origin" }) {
  return [typeof url === "function" ? url() : url, { headers: await resolved(headers), credentials }];
}

const resolved = (headers) => (typeof headers === "function" ? headers() : headers);

/** The arguments of a call that sends `value` as JSON. */
export function withJson([url, init], method, value) {
  const headers = new Headers(init.headers);
  headers.set("content-type", "application/json");
  return [url, { ...init, method, headers, body: JSON.stringify(value) }];
}

/** The answer to a prepared request; rejects with an HttpError outside 2xx. */
export async function request([url, init], { fetch = globalThis.fetch, signal }) {
  const response = await fetch(url, { ...init, signal });
  if (response.ok) return response;
  await discard(response);
  throw new HttpError(response);
}

/** GET `url`; rejects with an HttpError outside 2xx. */
export async function get(url, options) {
  return request(await prepare(url, options), options);
}

/** Whether there is a body to read. An empty one that says so counts as none. */
export function hasBody(response) {
  return Boolean(response.body) && response.status !== 204 && response.headers?.get("content-length") !== "0";
}

const DISCARD_BYTES = 64 * 1024;
const DISCARD_MS = 1000;

/** Read what is left of an answer that nobody wants, so that its connection can be used again; what is long is cut. */
export async function discard({ body }) {
  if (!body) return;
  const reader = body.getReader();
  const cancel = () => reader.cancel().catch(() => {});
  const timer = setTimeout(cancel, DISCARD_MS);
  try {
    for (let size = 0; size <= DISCARD_BYTES; ) {
      const { done, value } = await reader.read();
      if (done) return;
      size += value.length;
    }
    await cancel();
  } catch {
    // A body that breaks is gone as well.
  } finally {
    clearTimeout(timer);
  }
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
