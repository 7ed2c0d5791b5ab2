import type { Cursor, ReplayUrl } from "./cursor.js";
import type { RequestOptions } from "./request.js";
import type { Connection } from "./waiting.js";

export interface ReconnectOptions {
  /** Waits before each reconnect, the last one repeated; `[]`: no reconnect. Default 0, 250, 500, 1000, 2000, 5000. */
  reconnectBackoffMs?: readonly number[] | undefined;
  /**
   * After how many milliseconds without a byte a connection is given up and made anew; null: never. Default 45,000, three
   * pings of the server; never where there is no reconnect.
   */
  silenceMs?: number | null | undefined;
}

export interface VisibilityOptions {
  /**
   * Whether to let go of the connection while the page is hidden: after five seconds of that, and until it is shown; then it
   * goes on where it was. For replays of what is kept, as session mode does: what ends unkept meanwhile cannot be had any
   * more. Default false. Without a page, as in Node.js and in workers, it changes nothing.
   */
  whileVisible?: boolean | undefined;
}

export interface SubscribeOptions extends RequestOptions, ReconnectOptions, VisibilityOptions {
  /** The replay route. The cursor is added to a string as the query parameter `from`; a function gets it. */
  url: ReplayUrl;
}

/**
 * The JSON objects that a replay route sends as server-sent events. When a body ends or breaks, or the server cannot be had
 * for now, it asks again from the last id on. It ends with a 204, with an abort, or, where there is no reconnect, with the
 * body; it throws an HttpError that another try would not mend, and without reconnect any error. Leaving the loop closes
 * the connection.
 */
export function subscribe<Event extends object = Record<string, any>>(
  options: SubscribeOptions,
): AsyncGenerator<Event, void, undefined>;

/** A reader of one replay route: what `subscribe` and the chat clients are made of. */
export class Replay<Event extends object = Record<string, any>> {
  constructor(options: SubscribeOptions & { cursor?: Cursor | undefined });
  /** Whether the events have ended because the server had nothing more: a 204, or no body. */
  readonly foundNothing: boolean;
  /** Ask for the replay now; rejects with whatever goes wrong. */
  open(): Promise<void>;
  /** The same, but what goes wrong is for those who read the events, after the retries that are due. */
  tryToOpen(): Promise<void>;
  /** Read this body before asking for one. */
  take(response: Response, connection: Connection): void;
  /** The events, up to the first one for which `isLast` holds. */
  events(isLast?: (event: Event) => boolean): AsyncGenerator<Event, void, undefined>;
}
