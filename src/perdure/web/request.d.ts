export type HeaderSource = HeadersInit | (() => HeadersInit | Promise<HeadersInit>);

export interface RequestOptions {
  /** A mapping, a list of pairs, or a function that returns one; asked anew for every request. */
  headers?: HeaderSource | undefined;
  /** Default `same-origin`. */
  credentials?: RequestCredentials | undefined;
  /** Default: the platform's. */
  fetch?: typeof globalThis.fetch | undefined;
  signal?: AbortSignal | undefined;
}

/** The default waits before a reconnect, in milliseconds. */
export const RECONNECT_BACKOFF_MS: readonly number[];

/** An answer outside 2xx; its message is `HTTP <status> <reason>`. */
export class HttpError extends Error {
  constructor(response: { status: number; statusText: string });
  readonly status: number;
}

/** Whether the same request would be refused again: every status below 500 but 408 and 429. */
export function isPermanent(error: unknown): boolean;

/** The arguments of a call of `fetch`, with the headers that hold now. */
export function prepare(
  url: string | URL | (() => string | URL),
  options: RequestOptions,
): Promise<[string | URL, RequestInit]>;

/** The arguments of a call that sends `value` as JSON. */
export function withJson(
  prepared: [string | URL, RequestInit],
  method: string,
  value: unknown,
): [string | URL, RequestInit];

/** The answer to a prepared request; rejects with an HttpError outside 2xx. */
export function request(prepared: [string | URL, RequestInit], options: RequestOptions): Promise<Response>;

/** GET `url`; rejects with an HttpError outside 2xx. */
export function get(url: string | URL | (() => string | URL), options: RequestOptions): Promise<Response>;

/** Whether there is a body to read. An empty one that says so counts as none. */
export function hasBody(response: Response): boolean;

/** Read what is left of an answer that nobody wants, so that its connection can be used again; what is long is cut. */
export function discard(response: Response): Promise<void>;

/** The waits between tries: one after the other, the last one for ever. An empty list means no second try. */
export class Backoff {
  constructor(waits?: readonly number[]);
  /** Milliseconds until the next try, or undefined when there is to be none. */
  next(): number | undefined;
  reset(): void;
}
