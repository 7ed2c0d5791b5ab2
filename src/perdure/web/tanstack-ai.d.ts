import type { ReplayUrl } from "./cursor.js";
import type { ReconnectOptions } from "./events.js";
import type { RequestOptions } from "./request.js";

export { HttpError } from "./request.js";

/** What newer clients tell about a run. It is sent along, with `clientTools` as `tools`; `headers` join those of the request. */
export interface RunContext {
  threadId?: string | undefined;
  runId?: string | undefined;
  parentRunId?: string | undefined;
  resume?: readonly unknown[] | undefined;
  clientTools?: readonly unknown[] | undefined;
  headers?: Record<string, string> | undefined;
}

/** What is sent beside `messages` and `data`, in whose place it may put others. */
export type ExtraBody =
  | Record<string, unknown>
  | ((messages: readonly any[], data: Record<string, any> | undefined) => Record<string, unknown>);

/**
 * A connection whose chunks come from its subscription, for `useChat({ connection, live: true })`. All its subscriptions
 * share one cursor, so a later one goes on where the one before it was: make one connection for each `useChat`.
 */
export interface SubscribedConnection<Chunk = any> {
  /** The chunks from the cursor on, until the abort. One that ends by itself ends with a `RUN_FINISHED` or `RUN_ERROR`. */
  subscribe(abortSignal?: AbortSignal): AsyncGenerator<Chunk, void, undefined>;
  /** POST the messages; rejects with an HttpError outside 2xx, so with a 409 while another answer is generated. */
  send(
    messages: readonly unknown[],
    data?: Record<string, any>,
    abortSignal?: AbortSignal,
    runContext?: RunContext,
  ): Promise<void>;
}

/** A connection whose chunks come with the response to what is sent. */
export interface AnsweringConnection<Chunk = any> {
  /** POST the messages, and read the answer; throws an HttpError outside 2xx. */
  connect(
    messages: readonly unknown[],
    data?: Record<string, any>,
    abortSignal?: AbortSignal,
    runContext?: RunContext,
  ): AsyncGenerator<Chunk, void, undefined>;
}

export interface Stoppable {
  /**
   * Stop the answer that is being generated, for everybody. The `stop()` of `useChat` ends what this tab receives, and
   * no more: call both.
   */
  stop(): Promise<void>;
}

interface SharedOptions extends Omit<RequestOptions, "signal">, ReconnectOptions {
  /** The route that takes what is sent; POST. */
  sendUrl: string | URL | (() => string | URL);
  body?: ExtraBody | undefined;
  /**
   * Waits before each reconnect, the last one repeated. Default `[]`: no reconnect, a subscription that breaks is an error
   * of the UI library. Give waits, such as `[0, 250, 500, 1000, 2000, 5000]`, for a session that stays on.
   */
  reconnectBackoffMs?: readonly number[] | undefined;
}

export interface ConnectionOptions extends SharedOptions {
  /** The route of `replay`; GET. The cursor is added to a string as the query parameter `from`; a function gets it. */
  subscribeUrl: ReplayUrl;
}

export interface SessionConnectionOptions extends ConnectionOptions {
  /** That of the server. A session is followed for as long as the page is open: put `live=1` into `subscribeUrl`. */
  mode: "session";
  /** The route of `stop_session`; DELETE, with what `body` gives as JSON. */
  stopUrl?: string | URL | (() => string | URL) | undefined;
}

export interface AnswerConnectionOptions extends SharedOptions {
  /** That of the server. The default is "single-use". */
  mode?: "single-use" | "shared" | undefined;
  /** The route of `replay`, for answers that are under way when the page opens. Without it there is no subscription. */
  subscribeUrl?: ReplayUrl | undefined;
  stopUrl?: string | URL | (() => string | URL) | undefined;
}

/** The connection to a session: what is sent is answered in the log that is subscribed to. */
export function createConnection<Chunk = any>(options: ConnectionOptions): SubscribedConnection<Chunk>;

/** The connection to a chat of any mode. It has a `stop` only where there is a `stopUrl`. */
export function createS2Connection<Chunk = any>(
  options: SessionConnectionOptions & { stopUrl: string | URL | (() => string | URL) },
): SubscribedConnection<Chunk> & Stoppable;
export function createS2Connection<Chunk = any>(
  options: SessionConnectionOptions | (AnswerConnectionOptions & { subscribeUrl: ReplayUrl }),
): SubscribedConnection<Chunk> & Partial<Stoppable>;
export function createS2Connection<Chunk = any>(
  options: AnswerConnectionOptions & { subscribeUrl?: undefined },
): AnsweringConnection<Chunk> & Partial<Stoppable>;
