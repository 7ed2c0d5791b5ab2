import type { RequestOptions } from "./request.js";

/**
 * What `watchChat` needs of a chat: the result of `useChat`, or a `Chat` object of `@ai-sdk/react` (versions 2 to 4, for
 * `ai` 5 to 7), `@ai-sdk/vue`, `@ai-sdk/svelte` or `@ai-sdk/angular`.
 */
export interface WatchedChat<Message extends { id: string } = any> {
  readonly status: string;
  messages: Message[];
  setMessages?: ((messages: Message[]) => void) | undefined;
  resumeStream(): Promise<void>;
  stop?: (() => Promise<void>) | undefined;
}

export type WatchStatus =
  | { state: "connected" }
  /**
   * The watch connection is lost: `error` says why (none: the server ended it in an orderly way), the next try follows in
   * `retryInMs`. A server that restarts is away for a moment only, so wait a little before alarming anybody.
   */
  | { state: "reconnecting"; error: unknown; retryInMs: number }
  /** Refused for good (an HttpError with a 4xx status), or out of tries. Nothing follows; call `watchChat` anew. */
  | { state: "ended"; error: unknown };

export interface WatchOptions<Message extends { id: string } = any> extends RequestOptions {
  /** The route that serves the chat object's `watch(name)`. */
  watchUrl: string | (() => string);
  /** The route that serves `history(name)`. */
  historyUrl: string | (() => string);
  /**
   * The chat as it is now. Hooks return a new object for each render: keep the latest in a ref and answer from that, or
   * answer with the `Chat` object given to `useChat({ chat })`, whose `status` is never a render behind. Null: not yet.
   */
  getChat: () => WatchedChat<Message> | null | undefined;
  /** Ends the watching, as `close()` does. */
  signal?: AbortSignal | undefined;
  /** Waits before each reconnect, the last one repeated; `[]`: no reconnect. Default 0, 250, 500, 1000, 2000, 5000. */
  reconnectBackoffMs?: readonly number[] | undefined;
  /**
   * Called before messages are replaced of which some are not in the history, such as one that the server refused
   * because another tab was faster: put it back into the input box.
   */
  onReplace?: ((before: Message[], after: Message[]) => void) | undefined;
  /**
   * Whether to let go of the watch connection while the page is hidden: after five seconds of that, and until it is shown;
   * then the tab catches up. `onStatus` hears nothing of it but the new `connected`. Default false.
   */
  whileVisible?: boolean | undefined;
  /** Called whenever the watch connection comes, goes or ends for good. */
  onStatus?: ((status: WatchStatus) => void) | undefined;
}

/**
 * Keeps an open tab in step with turns that other tabs start, stop or lose. One call for each open chat; close it when
 * the page goes to another chat. Safe together with `resume: true`.
 *
 * Over HTTP/1.1 a browser opens at most six connections to one origin, for all tabs together: three tabs that watch and
 * receive an answer use them up, and a stop waits. Serve HTTP/2, or watch with `whileVisible`.
 */
export function watchChat<Message extends { id: string } = any>(
  options: WatchOptions<Message>,
): { close(): void };
