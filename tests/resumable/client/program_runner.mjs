// Runs one program (program.py says what that is) with the browser modules: JSON on stdin, its log as JSON on stdout.

import { createChatClient, HttpError, messagesFromEvents, subscribe } from "../../../src/perdure/web/anthropic.js";
import { createConnection, createS2Connection } from "../../../src/perdure/web/tanstack-ai.js";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const { url: base, program } = JSON.parse(Buffer.concat(chunks).toString());

const aborting = new AbortController();
const log = [];
let client, connection, subscription, events, pending;

const steps = {
  subscribe: (options) => void (events = subscribe(translated(options))),
  create: (options) => void (client = createChatClient(translated(options))),
  history: async () => log.push({ history: await client.loadHistory() }),
  open: async (options) => take(await client.subscribe(translated(options))),
  send: async ({ body, ...options }) => take(await client.send(body, translated(options))),
  stop: async () => log.push((await client.stop()) ?? "stopped"),
  connection: (options) => void (connection = connectionOf(translated(options))),
  follow: ({ signal }) => void (events = connection.subscribe(signal && aborting.signal)),
  async post({ messages, data, run, signal }) {
    await connection.send(messages, data, signal && aborting.signal, run);
    log.push("sent");
  },
  ask: ({ messages, signal }) => void (events = connection.connect(messages, undefined, signal && aborting.signal)),
  halt: async () => log.push((await connection.stop()) ?? "stopped"),
  async read({ count = 1 }) {
    for (let left = count; left > 0; left--) {
      const { done, value } = await events.next();
      log.push(done ? "end" : logged(value));
      if (done) return;
    }
  },
  async rest() {
    for await (const event of events) log.push(logged(event));
    log.push("end");
  },
  async messages() {
    for await (const message of messagesFromEvents(events)) log.push({ message });
    log.push("end");
  },
  begin: ({ step = { do: "read" } }) => void (pending = run(step)),
  finish: () => pending,
  leave: () => events.return(),
  abort: () => aborting.abort(),
  cancel: () => subscription.cancel(),
  until: ({ mark }) => fetch(`${base}/control/${mark}`),
};

const run = ({ do: name, ...options }) => steps[name](options);

for (const step of program) {
  try {
    await run(step);
  } catch (error) {
    const isAnswer = error instanceof HttpError;
    if (error instanceof SyntaxError || error instanceof ReferenceError) throw error;
    log.push(isAnswer ? { error: error.message, status: error.status } : { error: "network" });
  }
}
process.stdout.write(JSON.stringify(log), () => process.exit());

function connectionOf({ stopUrl, ...options }) {
  if (stopUrl === undefined && options.subscribeUrl) return createConnection(options);
  return createS2Connection({ mode: options.subscribeUrl ? "session" : "single-use", stopUrl, ...options });
}

/** The end of a run that the connection makes has an id of its own each time. */
function logged(event) {
  return String(event.runId).startsWith("s2-replay-") ? "over" : event;
}

function take(opened) {
  subscription = opened;
  events = opened.events;
  log.push("opened");
}

function translated(options) {
  return Object.fromEntries(Object.entries(options).map(([key, value]) => [key, translatedValue(key, value)]));
}

function translatedValue(key, value) {
  if (key === "signal") return aborting.signal;
  if (/url$/i.test(key)) return value.endsWith("=") ? (cursor) => `${base}${value}${cursor ?? "none"}` : base + value;
  if (key === "headers" && value.count) {
    let number = 0;
    return () => ({ [value.count]: String(++number) });
  }
  return value;
}
