// What the chat client does with the platform: its fetch, its signals, its functions. The table of cases that it shares
// with the Python client is in tests/resumable/client.

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";

import { createAccumulator, createChatClient, subscribe } from "../../src/perdure/web/anthropic.js";

const STOP = 'data: {"type":"message_stop"}\nid: 2\n\n';
const DELTA = 'data: {"type":"content_block_delta"}\nid: 1\n\n';

/** A body that stays open after `text`, whatever becomes of the request. */
function openBody(text) {
  let cancelled = false;
  const body = new ReadableStream({
    start: (controller) => controller.enqueue(new TextEncoder().encode(text)),
    cancel: () => void (cancelled = true),
  });
  return { body, isCancelled: () => cancelled };
}

/** A fetch that takes no notice of signals, and tells what it was asked. */
function deafFetch(...answers) {
  const asked = [];
  const fetch = async (url, init) => {
    asked.push({ url: String(url), ...init });
    return new Response(answers.shift() ?? null, { status: 200 });
  };
  return { fetch, asked };
}

const URLS = { sendUrl: "/send", subscribeUrl: "/stream?a=1" };

test("an abort ends a wait for the body although the platform's does not", async () => {
  const { body, isCancelled } = openBody(DELTA);
  const { fetch } = deafFetch(body);
  const aborting = new AbortController();
  const events = subscribe({ url: "/stream", fetch, signal: aborting.signal });
  assert.equal((await events.next()).value.type, "content_block_delta");
  const next = events.next();
  aborting.abort();
  assert.deepEqual(await next, { done: true, value: undefined });
  assert.equal(isCancelled(), true);
});

test("the last event ends the request before it is handed out", async () => {
  const { body, isCancelled } = openBody(DELTA + STOP);
  const { fetch, asked } = deafFetch(body);
  const { events } = await createChatClient({ ...URLS, fetch }).subscribe();
  await events.next();
  assert.equal(asked[0].signal.aborted, false);
  assert.equal((await events.next()).value.type, "message_stop");
  assert.equal(asked[0].signal.aborted, true);
  assert.equal(isCancelled(), true);
});

test("a listener's request goes on after a last event", async () => {
  const { body } = openBody(STOP);
  const { fetch, asked } = deafFetch(body);
  const { events, cancel } = await createChatClient({ ...URLS, fetch }).subscribe({ stopOnTerminal: false });
  await events.next();
  assert.equal(asked[0].signal.aborted, false);
  cancel();
  assert.equal(asked[0].signal.aborted, true);
  assert.equal((await events.next()).done, true);
});

test("a subscription that nobody reads is cancelled", async () => {
  const { fetch, asked } = deafFetch(openBody(DELTA).body);
  const { events, cancel } = await createChatClient({ ...URLS, fetch }).subscribe();
  cancel();
  assert.equal(asked[0].signal.aborted, true);
  assert.equal((await events.next()).done, true);
});

test("nothing of a subscription stays with the caller's signal", async () => {
  const { signal } = new AbortController();
  const { fetch } = deafFetch(STOP, DELTA, openBody(DELTA).body);
  const client = createChatClient({ ...URLS, fetch });
  for await (const event of (await client.subscribe({ signal })).events) assert.ok(event);
  for await (const event of subscribe({ url: "/stream", fetch, signal, reconnectBackoffMs: [] })) assert.ok(event);
  const { events, cancel } = await client.subscribe({ signal });
  await events.next();
  assert.equal(getEventListeners(signal, "abort").length, 1);
  cancel();
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

test("cookies go to the own origin only, unless said otherwise", async () => {
  const { fetch, asked } = deafFetch();
  await createChatClient({ ...URLS, fetch, historyUrl: "/history" }).loadHistory();
  await createChatClient({ ...URLS, fetch, historyUrl: "/history", credentials: "include" }).loadHistory();
  assert.deepEqual(asked.map(({ credentials }) => credentials), ["same-origin", "include"]);
});

test("headers of every form go with what is sent", async () => {
  for (const headers of [{ "x-a": "1" }, [["x-a", "1"]], new Headers({ "x-a": "1" }), async () => ({ "x-a": "1" })]) {
    const { fetch, asked } = deafFetch(STOP);
    for await (const event of (await createChatClient({ ...URLS, fetch, headers }).send({ b: 1 })).events) assert.ok(event);
    const { method, body, headers: sent } = asked[0];
    assert.deepEqual([method, body, ...sent], ["POST", '{"b":1}', ["content-type", "application/json"], ["x-a", "1"]]);
  }
});

test("what a function of the page throws comes out and is not tried again", async () => {
  const { fetch, asked } = deafFetch();
  const fail = () => {
    throw new RangeError("a mistake");
  };
  await assert.rejects(subscribe({ url: fail, fetch }).next(), RangeError);
  await assert.rejects(subscribe({ url: "/stream", headers: fail, fetch }).next(), RangeError);
  await assert.rejects(createChatClient({ ...URLS, fetch, headers: fail }).subscribe(), RangeError);
  assert.deepEqual(asked, []);
});

test("a history that is no JSON is an error", async () => {
  const { fetch } = deafFetch("<html>");
  await assert.rejects(createChatClient({ ...URLS, historyUrl: "/history", fetch }).loadHistory(), SyntaxError);
});

test("an accumulator says why there is no message yet", () => {
  const accumulator = createAccumulator();
  assert.throws(() => accumulator.finalMessage(), /finalMessage called before message_start/);
  accumulator.push({ type: "message_start", message: { id: "m", content: [{ type: "text", text: "captured" }] } });
  assert.throws(() => accumulator.finalMessage(), /finalMessage called before message_stop/);
  assert.equal(accumulator.isDone(), false);
  accumulator.push({ type: "message_stop" });
  assert.equal(accumulator.isDone(), true);
  assert.deepEqual(accumulator.finalMessage(), { id: "m", content: [] });
  accumulator.reset();
  assert.throws(() => accumulator.finalMessage(), /before message_start/);
});
