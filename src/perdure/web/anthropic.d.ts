import type { AnthropicMessage } from "./anthropic-message.js";
import type { ReplayUrl } from "./cursor.js";
import type { ReconnectOptions, VisibilityOptions } from "./events.js";
import type { RequestOptions } from "./request.js";

export { accumulateMessage, createAccumulator, messagesFromEvents } from "./anthropic-message.js";
export type { Accumulator, AnthropicMessage } from "./anthropic-message.js";
export { subscribe } from "./events.js";
export type { SubscribeOptions, VisibilityOptions } from "./events.js";
export { HttpError } from "./request.js";

/** An event of the chat's log: a raw event of the Messages API, `user_message`, or `error`. */
export interface ChatEvent {
  type: string;
  [key: string]: any;
}

/** What the user said, and what came of it. */
export interface Turn {
  user: string;
  /** The first whole message of the answer. */
  assistant?: AnthropicMessage;
  /** Why there is none. */
  error?: { type: string; message: string };
  /** The answer was stopped: `assistant` ends where it was, and is absent if nothing was said till then. */
  stopped?: true;
  /** What there was of an answer that failed, if the history route asks for partial messages. */
  partial?: AnthropicMessage;
}

export interface ChatHistory {
  turns: Turn[];
  /** All whole messages of the assistant, those of a tool loop too. */
  messages: AnthropicMessage[];
  /** Where the events go on. */
  nextSeqNum: number;
}

export interface ChatClientOptions extends Omit<RequestOptions, "signal">, ReconnectOptions {
  /** The route of `make_resumable`; POST. */
  sendUrl: string | URL | (() => string | URL);
  /** The route of `replay`; GET. The cursor is added to a string as the query parameter `from`; a function gets it. */
  subscribeUrl: ReplayUrl;
  /** The route of `history_response`; GET. */
  historyUrl?: string | URL | (() => string | URL) | undefined;
  /** The route of `stop`; DELETE. */
  stopUrl?: string | URL | (() => string | URL) | undefined;
}

export interface SubscriptionOptions {
  /** Ends the subscription without an error, as `cancel()` does. */
  signal?: AbortSignal | undefined;
  /** Whether `message_stop` and `error` end the events (the default). False for a listener that stays for later turns. */
  stopOnTerminal?: boolean | undefined;
}

export interface ListenOptions extends SubscriptionOptions, VisibilityOptions {}

export interface Subscription {
  /** The events, over as many connections as it takes. They throw an HttpError that another try would not mend. */
  events: AsyncGenerator<ChatEvent, void, undefined>;
  /** End this subscription, without an error; the answer goes on being generated. */
  cancel(): void;
}

export interface ChatClient {
  /** The turns so far; what follows them is what the next subscription begins with. Empty without a `historyUrl`. */
  loadHistory(): Promise<ChatHistory>;
  /**
   * Ask for the events from here on; rejects when the first request fails. Read the events, or cancel.
   *
   * Over HTTP/1.1 a browser opens at most six connections to one origin, for all tabs together: where six tabs stay
   * subscribed, a `send` waits. Serve HTTP/2, or subscribe with `whileVisible`.
   */
  subscribe(options?: ListenOptions): Promise<Subscription>;
  /**
   * POST `body` as JSON, and read the answer: from the response, or after a 202 from `subscribeUrl`. Rejects with an
   * HttpError outside 2xx, so with a 409 while another answer is generated. Read the events, or cancel.
   *
   * While a subscription of this client with `stopOnTerminal: false` is open, a 202 is all: that subscription shows the
   * answer, and `events` ask for it only if somebody reads them. Nothing needs to be read or cancelled then.
   */
  send(body: unknown, options?: SubscriptionOptions): Promise<Subscription>;
  /** Stop the answer that is being generated, for everybody. Nothing happens without a `stopUrl`. */
  stop(): Promise<void>;
}

/** The client of one chat. All of its subscriptions share one cursor. */
export function createChatClient(options: ChatClientOptions): ChatClient;
