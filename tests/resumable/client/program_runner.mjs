// Runs one program (program.py says what that is) with the browser modules: JSON on stdin, its log as JSON on stdout.

import { createChatClient, HttpError, messagesFromEvents, subscribe } from "../../../src/perdure/web/anthropic.js";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const { url: base, program } = JSON.parse(Buffer.concat(chunks).toString());

const aborting = new AbortController();
const log = [];
let client, subscription, events, pending;

const steps = {
  subscribe: (options) => void (events = subscribe(translated(options))),
  create: (options) => void (client = createChatClient(translated(options))),
  history: async () => log.push({ history: await client.loadHistory() }),
  open: async (options) => take(await client.subscribe(translated(options))),
  send: async ({ body, ...options }) => take(await client.send(body, translated(options))),
  stop: async () => log.push((await client.stop()) ?? "stopped"),
  async read({ count = 1 }) {
    for (let left = count; left > 0; left--) {
      const { done, value } = await events.next();
      log.push(done ? "end" : value);
      if (done) return;
    }
  },
  async rest() {
    for await (const event of events) log.push(event);
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
