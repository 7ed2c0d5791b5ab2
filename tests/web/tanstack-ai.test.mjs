// What the connections do with the platform, and with whom they are made for. The table of cases that they share with the
// Python client is in tests/resumable/client.

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";

import { createConnection, createS2Connection, HttpError } from "../../src/perdure/web/tanstack-ai.js";
import { until } from "./until.mjs";

const DELTA = { type: "TEXT_MESSAGE_CONTENT", messageId: "a1", delta: "x\u2028" };
const FINISHED = { type: "RUN_FINISHED", runId: "r1", threadId: "t1", finishReason: "stop" };
const URLS = { sendUrl: "/send", subscribeUrl: "/stream?a=1" };

const frame = (chunk, id) => `id: ${id}\ndata: ${JSON.stringify(chunk)}\n\n`;

/** A fetch that answers with these bodies, one after another (null: a 204), and tells what it was asked. */
function scripted(...answers) {
  const asked = [];
  const fetch = async (url, init) => {
    asked.push({ url: String(url), method: "GET", ...init });
    const answer = answers.shift() ?? null;
    if (typeof answer === "number") return new Response("no", { status: answer });
    return new Response(answer, { status: answer === null ? 204 : 200 });
  };
  return { fetch, asked };
}

/** A body that stays open until `end`, whatever becomes of the request. */
function openBody(text) {
  let controller;
  const body = new ReadableStream({ start: (made) => void (controller = made), cancel: () => void (state.cancelled = true) });
  const state = { body, cancelled: false, say: (more) => controller.enqueue(new TextEncoder().encode(more)), end: () => controller.close() };
  state.say(text);
  return state;
}

async function collect(chunks) {
  const found = [];
  for await (const chunk of chunks) found.push(chunk);
  return found;
}

/** Reads a subscription in the background, as the stock client does. */
function following(connection, signal) {
  const chunks = [];
  const over = (async () => {
    for await (const chunk of connection.subscribe(signal)) chunks.push(chunk);
  })();
  return { chunks, over };
}

test("no connection has both shapes, and a stop only where there is a route for it", () => {
  const shapes = [
    [createConnection(URLS), "subscribe send"],
    [createS2Connection({ sendUrl: "/send" }), "connect"],
    [createS2Connection({ sendUrl: "/send", stopUrl: "/stop" }), "connect stop"],
    [createS2Connection({ ...URLS, mode: "shared" }), "subscribe send"],
    [createS2Connection({ ...URLS, mode: "single-use", stopUrl: "/stop" }), "subscribe send stop"],
    [createS2Connection({ ...URLS, mode: "session", stopUrl: "/stop" }), "subscribe send stop"],
  ];
  for (const [connection, names] of shapes) assert.equal(Object.keys(connection).join(" "), names);
});

test("what cannot be meant is refused when the connection is made", () => {
  assert.throws(() => createS2Connection({ sendUrl: "/send", mode: "session" }), /mode is "session"/);
  assert.throws(() => createS2Connection({ ...URLS, mode: "sessions" }), /"single-use", "shared" or "session"/);
});

test("a subscription to what is over ends with one RUN_FINISHED that the connection makes", async () => {
  const made = { connection: ["threadId", "s2-replay"], session: ["model", "s2-replay"] };
  for (const [kind, [key, value]] of Object.entries(made)) {
    for (const answer of [null, "", ": keep-alive\n\n"]) {
      for (const reconnectBackoffMs of answer === null ? [[], [0]] : [[]]) {
        const options = { ...URLS, mode: "session", reconnectBackoffMs, ...scripted(answer) };
        const connection = kind === "session" ? createS2Connection(options) : createConnection(options);
        const [chunk, ...others] = await collect(connection.subscribe());
        assert.deepEqual(others, []);
        assert.deepEqual(Object.keys(chunk).sort(), ["finishReason", key, "runId", "timestamp", "type"].sort());
        assert.deepEqual([chunk.type, chunk[key], chunk.finishReason], ["RUN_FINISHED", value, "stop"]);
        assert.equal(chunk.runId, `s2-replay-${chunk.timestamp}`);
      }
    }
  }
});

test("a body that ends gets such a chunk only where it does not end with a run", async () => {
  for (const [last, count] of [[DELTA, 2], [FINISHED, 1], [{ type: "RUN_ERROR", message: "no" }, 1]]) {
    const chunks = await collect(createConnection({ ...URLS, ...scripted(frame(last, 2)) }).subscribe());
    assert.equal(chunks.length, count);
    assert.deepEqual(chunks[0], last);
  }
});

test("subscriptions of one connection share a cursor, so the later one goes on", async () => {
  const { fetch, asked } = scripted(frame(DELTA, 5) + frame(FINISHED, 7), frame(FINISHED, 9));
  const connection = createConnection({ ...URLS, fetch });
  await collect(connection.subscribe());
  await collect(connection.subscribe());
  assert.deepEqual(asked.map(({ url }) => url), ["/stream?a=1", "/stream?a=1&from=7"]);
});

test("what is sent holds the messages, the run, and what `body` adds, which wins", async () => {
  const { fetch, asked } = scripted(null, null, null);
  const run = { threadId: "t1", runId: "r1", parentRunId: "r0", resume: [{ id: 1 }], clientTools: [{ name: "w" }] };
  const messages = [{ id: "u1" }];
  await createConnection({ ...URLS, fetch }).send(messages, { a: 1 });
  await createConnection({ ...URLS, fetch, body: { id: "c", threadId: "mine" } }).send(messages, undefined, undefined, {
    ...run,
    headers: { "x-key": "k" },
    forwardedProps: { b: 2 },
  });
  const body = (sent, data) => ({ id: `${sent.length}${data.a}` });
  await createConnection({ ...URLS, fetch, body }).send(messages, { a: 1 }, undefined, { threadId: "t1", clientTools: [] });
  assert.deepEqual(asked.map((one) => [one.method, JSON.parse(one.body)]), [
    ["POST", { messages, data: { a: 1 } }],
    ["POST", { messages, threadId: "mine", runId: "r1", parentRunId: "r0", resume: [{ id: 1 }], tools: [{ name: "w" }], id: "c" }],
    ["POST", { messages, data: { a: 1 }, threadId: "t1", id: "11" }],
  ]);
  assert.deepEqual([...asked[1].headers], [["content-type", "application/json"], ["x-key", "k"]]);
  assert.deepEqual(asked.map(({ credentials }) => credentials), Array(3).fill("same-origin"));
});

test("what is sent waits for a subscription that is being opened, and not for one that cannot be", async () => {
  const asked = [];
  const gates = [];
  const fetch = async (url, { method = "GET", signal }) => {
    asked.push(method);
    if (method === "GET") await new Promise((resolve) => gates.push(resolve));
    return new Response(method === "GET" ? frame(FINISHED, 2) : null, { status: 200, signal });
  };
  const connection = createConnection({ ...URLS, fetch });
  const { chunks, over } = following(connection);
  const sending = connection.send([]);
  await until(() => gates.length === 1);
  await new Promise(setImmediate);
  assert.deepEqual(asked, ["GET"]);
  gates.pop()();
  await Promise.all([sending, over]);
  assert.deepEqual(asked, ["GET", "POST"]);
  assert.deepEqual(chunks, [FINISHED]);
  const refused = createConnection({ ...URLS, ...scripted(403, null) });
  const failing = assert.rejects(collect(refused.subscribe()), /403/);
  await refused.send([]);
  await failing;
});

test("what is sent and refused is an error, and an abort is none", async () => {
  const { fetch } = scripted(409);
  const connection = createConnection({ ...URLS, fetch });
  await assert.rejects(connection.send([]), (error) => error instanceof HttpError && error.status === 409);
  const mute = (_, { signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  for (const { send } of [createConnection({ ...URLS, fetch: mute }), createS2Connection({ ...URLS, fetch: mute })]) {
    const aborting = new AbortController();
    const sending = send([], undefined, aborting.signal);
    setImmediate(() => aborting.abort());
    await sending;
    await send([], undefined, aborting.signal);
    assert.equal(getEventListeners(aborting.signal, "abort").length, 0);
  }
});

test("a stop tells the route what `body` gives", async () => {
  const { fetch, asked } = scripted(null, null, 403);
  const options = { sendUrl: "/send", stopUrl: "/stop", fetch };
  await createS2Connection({ ...options, body: { id: "chat-1" } }).stop();
  await createS2Connection({ ...options, body: (messages, data) => ({ count: messages.length, data: data ?? null }) }).stop();
  assert.deepEqual(asked.map(({ method, url, body }) => [method, url, body]), [
    ["DELETE", "/stop", '{"messages":[],"id":"chat-1"}'],
    ["DELETE", "/stop", '{"messages":[],"count":0,"data":null}'],
  ]);
  await assert.rejects(createS2Connection(options).stop(), HttpError);
});

test("without a subscription the chunks come with the response", async () => {
  const { fetch, asked } = scripted(frame(DELTA, 2) + "data: [DONE]\n\n" + frame(FINISHED, 3), null, 409);
  const { connect } = createS2Connection({ sendUrl: "/send", fetch, reconnectBackoffMs: [0] });
  assert.deepEqual(await collect(connect([])), [DELTA, FINISHED]);
  assert.deepEqual(await collect(connect([])), []);
  await assert.rejects(collect(connect([])), HttpError);
  assert.deepEqual(asked.map(({ method, url }) => `${method} ${url}`), Array(3).fill("POST /send"));
});

test("leaving an answer, or aborting it, closes its response", async () => {
  for (const leave of ["break", "abort"]) {
    const aborting = new AbortController();
    const open = openBody(frame(DELTA, 2));
    const { connect } = createS2Connection({ sendUrl: "/send", ...scripted(open.body) });
    for await (const chunk of connect([], undefined, aborting.signal)) {
      assert.deepEqual(chunk, DELTA);
      if (leave === "break") break;
      aborting.abort();
    }
    await until(() => open.cancelled);
    assert.equal(getEventListeners(aborting.signal, "abort").length, 0);
  }
});

test("an answer under way and one that is sent come through the same subscription", async () => {
  const aborting = new AbortController();
  const { fetch, asked } = scripted(frame(DELTA, 5), frame(DELTA, 7) + frame(FINISHED, 8), frame(FINISHED, 9));
  const connection = createS2Connection({ ...URLS, mode: "shared", fetch });
  const first = following(connection, aborting.signal);
  await until(() => first.chunks.length === 1);
  await connection.send([]);
  await until(() => first.chunks.length === 3);
  aborting.abort();
  await first.over;
  assert.deepEqual(first.chunks, [DELTA, DELTA, FINISHED]);
  assert.equal(getEventListeners(aborting.signal, "abort").length, 0);
  const { value } = await connection.subscribe().next();
  assert.deepEqual(value, FINISHED);
  assert.deepEqual(asked.map(({ method, url }) => `${method} ${url}`), ["GET /stream?a=1", "POST /send", "GET /stream?a=1&from=8"]);
});

test("a queue stays open after a 204, and keeps what nobody has read", async () => {
  const aborting = new AbortController();
  const { fetch, asked } = scripted(frame(FINISHED, 2), null);
  const connection = createS2Connection({ ...URLS, fetch });
  await connection.send([]);
  const { chunks, over } = following(connection, aborting.signal);
  await until(() => chunks.length === 1 && asked.length === 2);
  aborting.abort();
  await over;
  assert.deepEqual(chunks, [FINISHED]);
});

test("a subscription that is refused is an error", async () => {
  const connection = createS2Connection({ ...URLS, ...scripted(403) });
  await assert.rejects(collect(connection.subscribe()), /HTTP 403/);
});

test("each answer of single-use streams is a log of its own, and goes on where it broke", async () => {
  const broken = (text) => {
    const bytes = new TextEncoder().encode(text);
    const parts = [bytes];
    return new ReadableStream({ pull: (made) => (parts.length ? made.enqueue(parts.pop()) : made.error(new TypeError("network"))) });
  };
  for (const [mode, from] of [["single-use", 3], ["shared", 50]]) {
    const { fetch, asked } = scripted(frame(FINISHED, 50), null, broken(frame(DELTA, 3)), frame(FINISHED, 60), null);
    const connection = createS2Connection({ ...URLS, mode, fetch, reconnectBackoffMs: [0] });
    await connection.send([]);
    await connection.send([]);
    const urls = asked.map(({ url }) => url);
    assert.deepEqual(urls.slice(2), ["/send", `/stream?a=1&from=${from}`, "/stream?a=1&from=60"]);
    const chunks = [];
    for await (const chunk of connection.subscribe()) if (chunks.push(chunk) === 3) break;
    assert.deepEqual(chunks, [FINISHED, DELTA, FINISHED]);
  }
});

test("an answer that is cut off without its end gets one where a subscription waits for it", async () => {
  const connection = createS2Connection({ ...URLS, ...scripted(frame(DELTA, 2), null) });
  await connection.send([]);
  const chunks = [];
  for await (const chunk of connection.subscribe()) if (chunks.push(chunk.type) === 2) break;
  assert.deepEqual(chunks, [DELTA.type, "RUN_FINISHED"]);
});

test("a 202 to what is sent leaves the answer to the replay", async () => {
  const { fetch, asked } = scripted(null, frame(FINISHED, 2), null);
  const connection = createS2Connection({ ...URLS, mode: "shared", fetch });
  await connection.send([]);
  for await (const chunk of connection.subscribe()) {
    assert.deepEqual(chunk, FINISHED);
    break;
  }
  assert.deepEqual(asked.map(({ method }) => method).slice(0, 2), ["POST", "GET"]);
});

test("a page's own mistake comes out, and nothing is asked", async () => {
  const { fetch, asked } = scripted();
  const headers = () => {
    throw new RangeError("a mistake");
  };
  for (const { subscribe, send } of [createConnection({ ...URLS, fetch, headers }), createS2Connection({ ...URLS, fetch, headers })]) {
    await assert.rejects(collect(subscribe()), RangeError);
    await assert.rejects(send([]), RangeError);
  }
  assert.deepEqual(asked, []);
});
