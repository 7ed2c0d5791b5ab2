// The client of a resumable chat for the Anthropic Messages API: history, live events, sending and stopping.

import { Cursor, isPlace } from "./cursor.js";
import { Replay } from "./events.js";
import { discard, get, hasBody, prepare, request, withJson } from "./request.js";
import { Connection, linkedController } from "./waiting.js";

export { accumulateMessage, createAccumulator, messagesFromEvents } from "./anthropic-message.js";
export { subscribe } from "./events.js";
export { HttpError } from "./request.js";

export function createChatClient({ sendUrl, subscribeUrl, historyUrl, stopUrl, ...options }) {
  const cursor = new Cursor();
  /** What closes the subscriptions that stay for later turns. */
  const listeners = new Set();

  async function loadHistory() {
    if (historyUrl === undefined) return snapshotOf(undefined);
    const response = await get(historyUrl, options);
    const text = await response.text();
    if (text === "") return snapshotOf(undefined);
    const snapshot = snapshotOf(JSON.parse(text));
    cursor.advance(snapshot.nextSeqNum);
    return snapshot;
  }

  async function subscribe({ signal, stopOnTerminal = true, whileVisible } = {}) {
    const closing = linkedController(signal);
    if (!stopOnTerminal && !closing.signal.aborted) {
      listeners.add(closing);
      closing.signal.addEventListener("abort", () => listeners.delete(closing));
    }
    return begin(closing, { stopOnTerminal, whileVisible }, (replay) => replay.open());
  }

  async function send(body, { signal, stopOnTerminal = true } = {}) {
    return begin(linkedController(signal), { stopOnTerminal }, async (replay, closing) => {
      const connection = new Connection(closing, null); // some servers answer a POST only when all is stored
      try {
        const prepared = withJson(await prepare(sendUrl, options), "POST", body);
        const response = await request(prepared, { ...options, signal: connection.signal });
        if (response.status !== 202 && hasBody(response)) return replay.take(response, connection);
        await discard(response);
      } catch (error) {
        connection.close();
        throw error;
      }
      connection.close();
      // Whoever listens has the answer already; who wants it from here as well gets it when the events are read.
      if (listeners.size === 0) await replay.tryToOpen();
    });
  }

  async function stop() {
    if (stopUrl === undefined) return;
    const [url, init] = await prepare(stopUrl, options);
    await discard(await request([url, { ...init, method: "DELETE" }], options));
  }

  /** A subscription whose first request is `open`'s. An abort in the middle of that leaves one without events. */
  async function begin(closing, { stopOnTerminal, whileVisible }, open) {
    const { signal } = closing;
    // A place of its own: another subscription may be ahead, and what it has seen, this one has not.
    const replay = new Replay({ ...options, whileVisible, url: subscribeUrl, cursor: cursor.fork(), signal });
    try {
      if (!signal.aborted) await open(replay, signal);
    } catch (error) {
      if (!signal.aborted) {
        closing.abort();
        throw error;
      }
    }
    const events = untilClosed(replay.events(stopOnTerminal ? isTerminal : undefined), closing);
    return { events, cancel: () => closing.abort() };
  }

  return { loadHistory, subscribe, send, stop };
}

/** The events; at their end, whichever it is, the caller's signal is let go of. */
async function* untilClosed(events, closing) {
  try {
    yield* events;
  } finally {
    closing.abort();
  }
}

function isTerminal({ type }) {
  return type === "message_stop" || type === "error";
}

/** A history as it should be, whatever the route sent. */
function snapshotOf(value) {
  const { turns, messages, nextSeqNum } = isObject(value) ? value : {};
  const kept = listOf(turns)
    .filter((turn) => isObject(turn) && typeof turn.user === "string")
    .map(turnOf);
  return {
    turns: kept,
    messages: Array.isArray(messages) ? messages : kept.flatMap(({ assistant }) => assistant ?? []),
    nextSeqNum: isPlace(nextSeqNum) ? nextSeqNum : 0,
  };
}

function turnOf({ error, ...turn }) {
  const isTold = isObject(error) && typeof error.type === "string" && typeof error.message === "string";
  return isTold ? { ...turn, error } : turn;
}

function listOf(value) {
  return Array.isArray(value) ? value : [];
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
