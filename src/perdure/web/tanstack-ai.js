// Connections between TanStack AI's `useChat` and the routes of a resumable chat.
//
// A connection has one of two shapes, and never both: `subscribe` and `send`, where all chunks come from the
// subscription, or `connect`, where they come with the response to what is sent.

import { Cursor } from "./cursor.js";
import { Replay } from "./events.js";
import { discard, hasBody, prepare, request, withJson } from "./request.js";
import { Connection, linkedController, pause } from "./waiting.js";

export { HttpError } from "./request.js";

export function createConnection(options) {
  return sessionOf(withDefaults(options), () => runFinished({ threadId: "s2-replay" }));
}

export function createS2Connection({ mode = "single-use", stopUrl, ...rest }) {
  const make = MODES[mode];
  if (!make) throw new TypeError(`mode is "single-use", "shared" or "session", not ${JSON.stringify(mode)}`);
  const options = { mode, ...withDefaults(rest) };
  const connection = make(options);
  return stopUrl === undefined ? connection : { ...connection, stop: () => stopAt(stopUrl, options) };
}

/** How long what is sent waits for the subscription to begin. */
const OPENING_MS = 2000;

const BY_REPLAY = { model: "s2-replay" };
const MODES = { "single-use": answersOf, shared: answersOf, session: s2SessionOf };

/** The UI library subscribes anew with the next send, so reconnecting is for those who ask for it. */
function withDefaults(options) {
  return { ...options, reconnectBackoffMs: options.reconnectBackoffMs ?? [] };
}

function s2SessionOf(options) {
  if (options.subscribeUrl === undefined) {
    throw new TypeError('`subscribeUrl` is missing: it gives all chunks when mode is "session"');
  }
  return sessionOf(options, () => runFinished(BY_REPLAY));
}

/** Whatever is sent is answered in the one log that is subscribed to. */
function sessionOf(options, ending) {
  const cursor = new Cursor();
  let opening = Promise.resolve();

  async function* subscribe(signal) {
    if (signal?.aborted) return;
    const replay = new Replay({ ...options, url: options.subscribeUrl, cursor, signal });
    opening = replay.tryToOpen();
    await opening;
    const isTold = yield* chunksOf(replay);
    // The UI library would wait for ever for the end of a run that was over before, or was cut off.
    if (!signal?.aborted && (replay.foundNothing || !isTold)) yield ending();
  }

  async function send(messages, data, signal, runContext) {
    // A subscription that is answered after a whole turn begins with its messages, and the end of the run, for which the
    // UI library waits, is not among them.
    await pause(OPENING_MS, signal, (wake) => opening.then(wake, wake));
    if (signal?.aborted) return;
    const connection = new Connection(signal, null); // some servers answer a POST only when all is stored
    try {
      await discard(await post(options, { messages, data, runContext, connection }));
    } catch (error) {
      if (!signal?.aborted) throw error;
    } finally {
      connection.close();
    }
  }

  return { subscribe, send };
}

/** The answer comes with the response; `subscribeUrl` gives one that is under way when the page opens. */
function answersOf(options) {
  const { mode, subscribeUrl } = options;
  const isReplayed = subscribeUrl !== undefined;
  const reading = { ...options, url: subscribeUrl, ...(isReplayed ? {} : { reconnectBackoffMs: [] }) };
  let cursor = new Cursor();

  async function* answer(messages, data, outer, runContext) {
    if (outer?.aborted) return;
    const closing = linkedController(outer);
    const { signal } = closing;
    const connection = new Connection(signal, null);
    try {
      const response = await post(options, { messages, data, runContext, connection });
      if (mode === "single-use") cursor = new Cursor(); // a log of its own
      const replay = new Replay({ ...reading, cursor, signal });
      if (hasBody(response)) replay.take(response, connection);
      else await discard(response);
      if (!hasBody(response) && !isReplayed) return;
      const isTold = yield* chunksOf(replay);
      if (isReplayed && !isTold && !signal.aborted) yield runFinished(BY_REPLAY);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      connection.close();
      closing.abort();
    }
  }

  if (!isReplayed) return { connect: answer };
  const queue = new Queue();

  async function* subscribe(outer) {
    const closing = linkedController(outer);
    const { signal } = closing;
    try {
      yield* queue.chunks(new Replay({ ...reading, cursor, signal }).events(), signal);
    } finally {
      closing.abort();
    }
  }

  async function send(...sent) {
    for await (const chunk of answer(...sent)) queue.push(chunk);
  }

  return { subscribe, send };
}

/** Chunks that arrive by several ways, for one reader at a time; what nobody has read is for the next one. */
class Queue {
  #chunks = [];
  #wake = () => {};

  push(chunk) {
    this.#chunks.push(chunk);
    this.#wake();
  }

  /** What is pushed, and what `events` give, until the abort. */
  async *chunks(events, signal) {
    let failure;
    const fill = async () => {
      try {
        for await (const chunk of events) this.push(chunk);
      } catch (error) {
        failure = { error };
        this.#wake();
      }
    };
    fill();
    while (!signal.aborted) {
      if (this.#chunks.length > 0) yield this.#chunks.shift();
      else if (failure) throw failure.error;
      else await pause(undefined, signal, (wake) => (this.#wake = wake));
    }
  }
}

/** The chunks of a replay; returns whether the last of them says that a run is over. */
async function* chunksOf(replay) {
  let last;
  for await (last of replay.events()) yield last;
  return isTerminal(last);
}

function isTerminal(chunk) {
  return chunk?.type === "RUN_FINISHED" || chunk?.type === "RUN_ERROR";
}

function runFinished(more) {
  const timestamp = Date.now();
  return { type: "RUN_FINISHED", runId: `s2-replay-${timestamp}`, ...more, timestamp, finishReason: "stop" };
}

async function post(options, { messages, data, runContext, connection }) {
  const [url, init] = await prepare(options.sendUrl, options);
  const headers = new Headers(init.headers);
  for (const [name, value] of Object.entries(runContext?.headers ?? {})) headers.set(name, value);
  const json = { messages, data, ...runFields(runContext), ...extraOf(options.body, messages, data) };
  return request(withJson([url, { ...init, headers }], "POST", json), { ...options, signal: connection.signal });
}

/** What newer clients tell of the run, under the names that AG-UI gives it. */
function runFields({ threadId, runId, parentRunId, resume, clientTools } = {}) {
  return { threadId, runId, parentRunId, resume, tools: clientTools?.length ? clientTools : undefined };
}

function extraOf(body, messages, data) {
  return typeof body === "function" ? body(messages, data) : body;
}

async function stopAt(stopUrl, options) {
  const json = { messages: [], ...extraOf(options.body, [], undefined) };
  await discard(await request(withJson(await prepare(stopUrl, options), "DELETE", json), options));
}
