// The JSON events of a replay route, over as many connections as it takes.

import { Cursor, urlAt } from "./cursor.js";
import { Backoff, hasBody, isPermanent, prepare, request } from "./request.js";
import { SseParser, readFrames } from "./sse.js";
import { untilSeen } from "./visibility.js";
import { Connection, pauseBeforeRetry } from "./waiting.js";

export async function* subscribe(options) {
  yield* new Replay(options).events();
}

/** A reader of one replay route. `cursor` says where it is; an abort of `signal` ends it without an error. */
export class Replay {
  /** Whether the events have ended because the server had nothing more. */
  foundNothing = false;

  #options;
  #cursor;
  #signal;
  #silenceMs;
  #first;

  constructor({ cursor = new Cursor(), signal, silenceMs, ...options }) {
    this.#options = options;
    this.#cursor = cursor;
    this.#signal = signal;
    // Who does not reconnect would take a silence for a failure, and not every server pings.
    this.#silenceMs = options.reconnectBackoffMs?.length === 0 ? (silenceMs ?? null) : silenceMs;
  }

  /** Ask for the replay now; rejects with whatever goes wrong. */
  async open() {
    const first = await this.#open();
    if (first.error) throw first.error;
    this.#first = first;
  }

  /** The same, but what goes wrong is for those who read the events, after the retries that are due. */
  async tryToOpen() {
    this.#first = await this.#open();
  }

  /** Read this body before asking for one. */
  take(response, connection) {
    this.#first = { response, connection };
    connection.limitSilence(this.#silenceMs);
  }

  async #open() {
    for (;;) {
      // Outside of the `try`: what a function of the page throws is no failure of the network.
      const prepared = await prepare(urlAt(this.#options.url, this.#cursor.value), this.#options);
      const connection = new Connection(this.#signal, this.#silenceMs, this.#options);
      try {
        return { connection, response: await request(prepared, { ...this.#options, signal: connection.signal }) };
      } catch (error) {
        connection.close();
        if (!connection.isLetGo) return { error };
      }
      await untilSeen(this.#signal);
    }
  }

  /** The events, up to the first one for which `isLast` holds: the request is over before that one is handed out. */
  async *events(isLast = () => false) {
    const backoff = new Backoff(this.#options.reconnectBackoffMs);
    while (!this.#signal?.aborted) {
      let { response, connection, error } = this.#first ?? (await this.#open());
      this.#first = undefined;
      const parser = new SseParser();
      try {
        this.foundNothing = Boolean(response) && !hasBody(response);
        if (this.foundNothing) return;
        for await (const frame of response ? this.#frames(response, connection, parser) : []) {
          this.#cursor.advance(frame.id);
          const event = parseObject(frame.data);
          if (!event) continue;
          backoff.reset();
          const isOver = isLast(event);
          if (isOver) connection.close();
          yield event;
          if (isOver || this.#signal?.aborted) return;
        }
      } catch (reason) {
        error = reason;
      } finally {
        connection?.close();
      }
      if (this.#signal?.aborted) return;
      this.#cursor.advance(parser.lastEventId); // also of a frame that had an id only
      if (connection?.isLetGo) {
        await untilSeen(this.#signal);
        continue; // as it was no failure, there is nothing to wait for
      }
      const waitMs = error && isPermanent(error) ? undefined : backoff.next();
      if (waitMs === undefined && error) throw error;
      if (waitMs === undefined) return;
      await pauseBeforeRetry(waitMs, this.#signal);
      if (this.#options.whileVisible) await untilSeen(this.#signal);
    }
  }

  #frames({ body }, connection, parser) {
    return readFrames(body, { parser, onBytes: () => connection.isAlive(), signal: connection.signal });
  }
}

/** The object in `data`; what is none, such as `[DONE]`, is passed over. */
function parseObject(data) {
  try {
    const value = JSON.parse(data);
    return typeof value === "object" && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
