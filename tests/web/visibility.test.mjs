// What the modules do while nobody looks at the page, and when the network comes back: a document, a clock and a fetch
// that the tests rule.

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { afterEach, beforeEach, mock, test } from "node:test";

import { watchChat } from "../../src/perdure/web/aisdk.js";
import { createChatClient, subscribe } from "../../src/perdure/web/anthropic.js";
import { HIDDEN_MS } from "../../src/perdure/web/visibility.js";

class Page extends EventTarget {
  visibilityState = "visible";

  become(state) {
    this.visibilityState = state;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}

let page;

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout"] });
  page = globalThis.document = new Page();
});

afterEach(() => {
  mock.timers.reset();
  delete globalThis.document;
});

const event = (number) => `data: {"n":${number}}\nid: ${number}\n\n`;

/** Answers requests one after the other, with a body that stays open after its text, or does not answer (null). */
class Server {
  requests = [];
  #answers;

  constructor(...answers) {
    this.#answers = answers;
  }

  fetch = (url, { signal }) => {
    const answer = this.#answers.shift();
    assert.notEqual(answer, undefined, `nobody expects ${url}`);
    const request = { url: String(url), signal };
    this.requests.push(request);
    const aborted = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    aborted.catch(() => {});
    const start = (body) => {
      request.end = () => body.close();
      if (answer) body.enqueue(new TextEncoder().encode(answer));
    };
    return answer === null ? aborted : Promise.resolve(new Response(new ReadableStream({ start })));
  };

  get urls() {
    return this.requests.map(({ url }) => url);
  }
}

/** Let everything happen that does not wait for the clock. */
async function settled() {
  for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
}

const next = async (events) => (await events.next()).value?.n;

test("a page that stays hidden lets go of its connection, and goes on from its cursor when it is shown", async () => {
  const server = new Server(event(1), event(2));
  const events = subscribe({ url: "/stream", fetch: server.fetch, whileVisible: true, reconnectBackoffMs: [] });
  assert.equal(await next(events), 1);
  const waiting = next(events);
  page.become("hidden");
  mock.timers.tick(HIDDEN_MS - 1);
  page.become("visible"); // only a glance
  mock.timers.tick(HIDDEN_MS);
  assert.equal(server.requests[0].signal.aborted, false);
  page.become("hidden");
  mock.timers.tick(HIDDEN_MS);
  assert.equal(server.requests[0].signal.aborted, true);
  await settled();
  mock.timers.tick(60_000);
  await settled();
  assert.deepEqual(server.urls, ["/stream"]);
  page.become("visible");
  assert.equal(await waiting, 2);
  assert.deepEqual(server.urls, ["/stream", "/stream?from=1"]);
  await events.return();
  assert.equal(getEventListeners(page, "visibilitychange").length, 0);
});

test("without the option a hidden page keeps its connection", async () => {
  const server = new Server(event(1));
  const events = subscribe({ url: "/stream", fetch: server.fetch, silenceMs: null });
  assert.equal(await next(events), 1);
  page.become("hidden");
  mock.timers.tick(10 * HIDDEN_MS);
  assert.equal(server.requests[0].signal.aborted, false);
  await events.return();
});

test("a subscription that a hidden page waits for is asked for again when it is shown", async () => {
  const server = new Server(null, event(1));
  const client = createChatClient({ sendUrl: "/send", subscribeUrl: "/stream", fetch: server.fetch });
  page.become("hidden"); // opened in the background, where six other tabs have all connections
  const opening = client.subscribe({ stopOnTerminal: false, whileVisible: true });
  await settled();
  mock.timers.tick(HIDDEN_MS);
  await settled();
  assert.equal(server.requests[0].signal.aborted, true);
  page.become("visible");
  const { events, cancel } = await opening;
  assert.equal(await next(events), 1);
  cancel();
});

test("a connection that ends while the page is hidden is made anew when it is shown", async () => {
  const server = new Server(event(1), event(2));
  const events = subscribe({ url: "/stream", fetch: server.fetch, whileVisible: true, reconnectBackoffMs: [0] });
  assert.equal(await next(events), 1);
  const waiting = next(events);
  page.become("hidden");
  server.requests[0].end();
  await settled();
  mock.timers.tick(0);
  await settled();
  assert.deepEqual(server.urls, ["/stream"]);
  page.become("visible");
  assert.equal(await waiting, 2);
  await events.return();
});

test("an abort ends the wait for a page that is hidden", async () => {
  const aborting = new AbortController();
  const { signal } = aborting;
  const server = new Server(event(1));
  const events = subscribe({ url: "/stream", fetch: server.fetch, whileVisible: true, signal });
  assert.equal(await next(events), 1);
  const waiting = events.next();
  page.become("hidden");
  mock.timers.tick(HIDDEN_MS);
  await settled();
  aborting.abort();
  assert.deepEqual(await waiting, { done: true, value: undefined });
  assert.equal(getEventListeners(page, "visibilitychange").length, 0);
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

test("what is sent is read to its end although the page is hidden", async () => {
  const server = new Server(event(1));
  const client = createChatClient({ sendUrl: "/send", subscribeUrl: "/stream", fetch: server.fetch });
  const { events, cancel } = await client.send({});
  page.become("hidden");
  mock.timers.tick(2 * HIDDEN_MS);
  assert.equal(await next(events), 1);
  assert.equal(server.requests[0].signal.aborted, false);
  cancel();
});

test("a hidden tab does not watch its chat, and is told what it missed when it is shown", async () => {
  const told = (turn) => `event: generation\ndata: ${JSON.stringify({ event: "state", active: false, ...turn })}\n\n`;
  const history = '{"messages":[{"id":"m"}],"nextSeqNum":7}';
  const server = new Server(told({ nextSeqNum: 0 }), told({ nextSeqNum: 7 }), history);
  const chat = { status: "ready", messages: [], resumeStream: async () => {} };
  const heard = [];
  const urls = { watchUrl: "/watch", historyUrl: "/history" };
  const onStatus = ({ state }) => heard.push(state);
  const watching = watchChat({ ...urls, getChat: () => chat, whileVisible: true, fetch: server.fetch, onStatus });
  await settled();
  page.become("hidden");
  mock.timers.tick(HIDDEN_MS);
  await settled();
  assert.equal(server.requests[0].signal.aborted, true);
  assert.deepEqual(server.urls, ["/watch"]);
  page.become("visible");
  await settled();
  server.requests[2].end();
  await settled();
  assert.deepEqual(server.urls, ["/watch", "/watch", "/history"]);
  assert.deepEqual(chat.messages, [{ id: "m" }]);
  assert.deepEqual(heard, ["connected", "connected"]);
  watching.close();
  await settled();
  assert.equal(getEventListeners(page, "visibilitychange").length, 0);
});

test("a network that comes back ends the wait before a retry", async () => {
  const browser = new EventTarget();
  globalThis.addEventListener = browser.addEventListener.bind(browser);
  globalThis.removeEventListener = browser.removeEventListener.bind(browser);
  try {
    const server = new Server(event(1), event(2));
    const events = subscribe({ url: "/stream", fetch: server.fetch, reconnectBackoffMs: [60_000] });
    assert.equal(await next(events), 1);
    const waiting = next(events);
    server.requests[0].end();
    await settled();
    assert.deepEqual(server.urls, ["/stream"]);
    browser.dispatchEvent(new Event("online"));
    assert.equal(await waiting, 2);
    assert.equal(getEventListeners(browser, "online").length, 0);
    await events.return();
  } finally {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
});
