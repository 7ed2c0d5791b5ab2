// `watchChat` beside the stock chat clients, against a peer that plays the server and the other tabs.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { watchChat } from "../../src/perdure/web/aisdk.js";
import { HttpError } from "../../src/perdure/web/request.js";
import { ChatPeer, transcript, userMessage } from "./chat-peer.mjs";
import { clients } from "./stock.mjs";
import { until } from "./until.mjs";

const LOOKS_MS = 1200; // two looks and a little

/** Breaks bodies as Chromium does: the stock clients tell a lost connection by the text of the error. */
async function browserFetch(url, init) {
  const response = await fetch(url, init);
  const reader = response.body?.getReader();
  const body = new ReadableStream({
    async pull(controller) {
      const { done, value } = await reader.read().catch((error) => {
        throw init.signal?.aborted ? error : new TypeError("network error");
      });
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return new Response(reader ? body : null, response);
}

/** A `fetch` that counts, for each request, how often the reader of its body asked for more. */
function countingAsks() {
  const asks = [];
  async function countingFetch(url, init) {
    const response = await fetch(url, init);
    const reader = response.body.getReader();
    const at = asks.push(0) - 1;
    async function pull(controller) {
      asks[at] += 1;
      const { done, value } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    }
    const cancel = (reason) => reader.cancel(reason);
    return new Response(new ReadableStream({ pull, cancel }, { highWaterMark: 0 }), response);
  }
  return { asks, countingFetch };
}

/** A peer of its own, and tabs on it; all is closed after the test. */
async function openScene(t) {
  const peer = await ChatPeer.open();
  const closers = [];
  const onClose = (close) => closers.push(close);
  t.after(async () => {
    for (const close of closers) await close();
    await peer.goAway();
  });

  /** A tab: a stock chat, watched. */
  async function openTab({ Chat, DefaultChatTransport }, options = {}) {
    const transport = new DefaultChatTransport({ api: peer.api, fetch: browserFetch });
    const chat = new Chat({ id: "c1", transport });
    onClose(() => chat.stop());
    const statuses = [];
    const replaced = [];
    const watch = watchChat({
      ...peer.urls,
      getChat: () => chat,
      reconnectBackoffMs: [0, 20, 50],
      onStatus: (status) => statuses.push(status),
      onReplace: (before, after) => replaced.push({ before, after }),
      ...options,
    });
    onClose(watch.close);
    if (!options.onStatus) await until(() => statuses.some(({ state }) => state !== "reconnecting"));
    return { chat, watch, statuses, replaced };
  }

  return { peer, openTab, onClose };
}

const shows = (chat, ...lines) => () => JSON.stringify(transcript(chat.messages)) === JSON.stringify(lines);

for (const [version, client] of Object.entries(clients)) {
  describe(version, { concurrency: true }, () => {
    test("an idle tab joins a turn that another tab starts, and sees it to its end", async (t) => {
      const { peer, openTab } = await openScene(t);
      const { chat, replaced } = await openTab(client);
      peer.begin(userMessage("hello"), "a1");
      peer.say("one ");
      await until(shows(chat, "user: hello", "assistant: one "));
      peer.say("two");
      await until(shows(chat, "user: hello", "assistant: one two"));
      assert.equal(chat.status, "streaming");
      peer.end();
      await until(() => chat.status === "ready");
      assert.deepEqual(transcript(chat.messages), ["user: hello", "assistant: one two"]);
      assert.deepEqual(replaced, []);
    });

    test("a tab that opens in mid-turn joins it, also beside a resume of its own", async (t) => {
      const { peer, openTab } = await openScene(t);
      peer.begin(userMessage("hello"), "a1");
      peer.say("one");
      const { chat } = await openTab(client);
      chat.resumeStream();
      await until(() => transcript(chat.messages).at(-1) === "assistant: one");
      peer.say(" two");
      peer.end();
      await until(shows(chat, "user: hello", "assistant: one two"));
    });

    test("a tab that runs its own turn is left alone", async (t) => {
      const { peer, openTab } = await openScene(t);
      const { chat, replaced } = await openTab(client);
      await until(() => peer.count("GET watch") === 1);
      for (const question of ["first", "second"]) {
        chat.sendMessage({ text: question });
        await until(() => chat.status === "streaming" || chat.status === "submitted");
        await until(() => peer.count("POST send") === (question === "first" ? 1 : 2));
        peer.say(`answer to ${question}`);
        await sleep(LOOKS_MS / 2);
        peer.end();
        await until(() => chat.status === "ready");
        await sleep(LOOKS_MS / 2);
      }
      assert.equal(peer.count("GET history"), 0);
      assert.equal(peer.count("GET stream"), 0);
      assert.deepEqual(replaced, []);
      assert.equal(chat.messages.length, 4);
    });

    test("a message that was refused comes back through onReplace, and the tab joins the other turn", async (t) => {
      const { peer, openTab } = await openScene(t);
      const { chat, replaced } = await openTab(client);
      const release = peer.hold("send");
      peer.refusals.send = [409];
      chat.sendMessage({ text: "mine" });
      await until(() => peer.count("POST send") === 1);
      peer.begin(userMessage("the other tab"), "a1"); // heard while this tab is busy, as if it were its own
      peer.say("answer");
      await sleep(50);
      release();
      await until(shows(chat, "user: the other tab", "assistant: answer"));
      assert.equal(chat.status, "streaming");
      assert.deepEqual(transcript(replaced[0].before), ["user: mine"]);
      assert.deepEqual(transcript(replaced[0].after), ["user: the other tab"]);
      peer.end();
      await until(() => chat.status === "ready");
    });

    test("a dropped body is taken up again without a lost or doubled word", async (t) => {
      const { peer, openTab } = await openScene(t);
      const { chat } = await openTab(client);
      chat.sendMessage({ text: "hello" });
      await until(() => peer.count("POST send") === 1);
      peer.say("one ");
      await until(() => transcript(chat.messages).at(-1) === "assistant: one ");
      peer.cutBodies();
      await until(() => chat.status === "error");
      peer.say("two ");
      await until(shows(chat, "user: hello", "assistant: one two "));
      peer.say("three");
      await until(shows(chat, "user: hello", "assistant: one two three"));
      peer.end();
      await until(() => chat.status === "ready");
      assert.deepEqual(transcript(chat.messages), ["user: hello", "assistant: one two three"]);
    });

    test("what was generated while the server could not be reached is there once it is back", async (t) => {
      const { peer, openTab } = await openScene(t);
      const { chat, statuses } = await openTab(client);
      chat.sendMessage({ text: "hello" });
      await until(() => peer.count("POST send") === 1);
      peer.say("one ");
      await until(() => transcript(chat.messages).at(-1) === "assistant: one ");
      await peer.goAway();
      await until(() => statuses.at(-1).state === "reconnecting" && chat.status === "error");
      await peer.comeBack();
      peer.say("two");
      peer.end();
      await until(shows(chat, "user: hello", "assistant: one two"));
      assert.equal(statuses.at(-1).state, "connected");
    });

    test("a stop of the stock client is only a disconnect: the tab joins again", async (t) => {
      const { peer, openTab } = await openScene(t);
      const { chat } = await openTab(client);
      chat.sendMessage({ text: "hello" });
      await until(() => peer.count("POST send") === 1);
      peer.say("one ");
      await until(() => transcript(chat.messages).at(-1) === "assistant: one ");
      await chat.stop();
      peer.say("two");
      await until(shows(chat, "user: hello", "assistant: one two"));
      peer.end();
      await until(() => chat.status === "ready");
    });

    test("a stop of the stock client right before the end loses nothing", async (t) => {
      const { peer, openTab } = await openScene(t);
      const { chat } = await openTab(client);
      chat.sendMessage({ text: "hello" });
      await until(() => peer.count("POST send") === 1);
      peer.say("one ");
      await until(() => transcript(chat.messages).at(-1) === "assistant: one ");
      await chat.stop();
      peer.say("two");
      peer.end();
      await until(shows(chat, "user: hello", "assistant: one two"));
    });

    test("a turn that fails keeps its text and its error", async (t) => {
      const { peer, openTab } = await openScene(t);
      const { chat } = await openTab(client);
      chat.sendMessage({ text: "hello" });
      await until(() => peer.count("POST send") === 1);
      peer.say("half");
      peer.end("error");
      await until(() => peer.count("GET history") === 1);
      await until(shows(chat, "user: hello", "assistant: half"));
      assert.equal(chat.status, "error");
      assert.equal(chat.error.message, "An error occurred.");
    });

    test("turns in quick succession by two tabs all arrive", async (t) => {
      const { peer, openTab } = await openScene(t);
      const { chat } = await openTab(client);
      chat.sendMessage({ text: "mine" });
      await until(() => peer.count("POST send") === 1);
      peer.say("1");
      await until(() => transcript(chat.messages).at(-1) === "assistant: 1");
      peer.end("end", { announceFirst: true });
      peer.begin(userMessage("theirs"), "a2"); // while this tab is still busy with its own
      peer.say("2");
      peer.end();
      peer.begin(userMessage("theirs again"), "a3");
      peer.say("3");
      await until(
        shows(chat, "user: mine", "assistant: 1", "user: theirs", "assistant: 2", "user: theirs again", "assistant: 3"),
      );
      peer.end();
      await until(() => chat.status === "ready");
    });
  });
}

const client = clients["ai 7"];

describe("requests", { concurrency: true }, () => {
  test("headers are asked for anew, and may come late", async (t) => {
    const { peer, openTab } = await openScene(t);
    let token = 0;
    await openTab(client, { headers: async () => ({ authorization: `Bearer ${++token}` }) });
    assert.equal(peer.headers.watch.authorization, "Bearer 1");
    peer.cutWatches();
    await until(() => peer.headers.watch.authorization === "Bearer 2");
  });

  test("URLs may be functions, headers a list, and fetch another", async (t) => {
    const { peer, openTab } = await openScene(t);
    const asked = [];
    await openTab(client, {
      watchUrl: () => peer.urls.watchUrl,
      historyUrl: () => peer.urls.historyUrl,
      headers: [["x-one", "1"]],
      credentials: "include",
      fetch: (url, init) => {
        asked.push([url, init.credentials]);
        return fetch(url, init);
      },
    });
    await until(() => peer.watching > 0);
    assert.equal(peer.headers.watch["x-one"], "1");
    assert.deepEqual(asked, [[peer.urls.watchUrl, "include"]]);
  });

  test("408, 429, 5xx and a broken connection are tried again", async (t) => {
    const { peer, openTab } = await openScene(t);
    peer.refusals.watch = [503, 429, 408, 500, 0];
    const { statuses } = await openTab(client);
    const reasons = statuses.slice(0, 5).map(({ error }) => error.status);
    assert.deepEqual(reasons, [503, 429, 408, 500, undefined]);
    assert.deepEqual(statuses.slice(0, 5).map(({ retryInMs }) => retryInMs), [0, 20, 50, 50, 50]);
    assert.equal(statuses.at(-1).state, "connected");
  });

  for (const status of [400, 401, 403, 404]) {
    test(`${status} ends the watching at once`, async (t) => {
      const { peer, openTab } = await openScene(t);
      peer.refusals.watch = [status];
      const { statuses } = await openTab(client);
      assert.equal(statuses[0].state, "ended");
      assert.ok(statuses[0].error instanceof HttpError);
      assert.match(statuses[0].error.message, new RegExp(`^HTTP ${status} \\w`));
      await sleep(100);
      assert.deepEqual(peer.requests, ["GET watch"]);
    });
  }

  test("a history that is refused for good ends the watching too", async (t) => {
    const { peer, openTab } = await openScene(t);
    peer.refusals.history = [403];
    const { statuses } = await openTab(client);
    peer.begin();
    await until(() => statuses.at(-1).state === "ended");
    await until(() => peer.watching === 0);
    assert.equal(statuses.at(-1).error.status, 403);
  });

  test("204 ends the watching without an error", async (t) => {
    const { peer, openTab } = await openScene(t);
    peer.refusals.watch = [204];
    const { statuses } = await openTab(client);
    assert.deepEqual(statuses, [{ state: "ended", error: undefined }]);
  });

  test("an empty list of waits means no reconnect", async (t) => {
    const { peer, openTab } = await openScene(t);
    const { statuses } = await openTab(client, { reconnectBackoffMs: [] });
    peer.cutWatches();
    await until(() => statuses.at(-1).state === "ended");
    await sleep(100);
    assert.equal(peer.count("GET watch"), 1);
  });

  test("the waits start anew once an event came", async (t) => {
    const { peer, openTab } = await openScene(t);
    const { asks, countingFetch } = countingAsks();
    const { statuses } = await openTab(client, { fetch: countingFetch });
    for (let cut = 0; cut < 3; cut++) {
      await until(() => asks.at(-1) > 1); // it has taken the first event, and waits for the next
      peer.cutWatches();
      await until(() => statuses.filter(({ state }) => state === "connected").length === cut + 2);
    }
    const waits = statuses.filter(({ state }) => state === "reconnecting").map(({ retryInMs }) => retryInMs);
    assert.deepEqual(waits, [0, 0, 0]);
  });

  test("a history that cannot be had for now is asked for again", async (t) => {
    const { peer, openTab } = await openScene(t);
    peer.refusals.history = [503, 0, 500];
    const { chat } = await openTab(client);
    peer.begin(userMessage("hello"));
    peer.say("one");
    await until(shows(chat, "user: hello", "assistant: one"));
    assert.equal(peer.count("GET history"), 4);
  });

  test("a reconnect catches up with turns that were missed", async (t) => {
    const { peer, openTab } = await openScene(t);
    const { chat } = await openTab(client);
    peer.refusals.watch = [503, 503];
    peer.cutWatches();
    peer.begin(userMessage("hello"));
    peer.say("one");
    peer.end();
    await until(shows(chat, "user: hello", "assistant: one"));
    const loads = peer.count("GET history");
    peer.cutWatches();
    await until(() => peer.watching === 1);
    await sleep(50);
    assert.equal(peer.count("GET history"), loads, "nothing new, nothing loaded");
  });

  test("a chat that was deleted is empty, and can be begun anew", async (t) => {
    const { peer, openTab } = await openScene(t);
    const { chat } = await openTab(client);
    peer.begin(userMessage("hello"));
    peer.say("one");
    peer.end();
    await until(shows(chat, "user: hello", "assistant: one"));
    peer.delete();
    await until(shows(chat));
    peer.begin(userMessage("again"));
    peer.say("two");
    peer.end();
    await until(shows(chat, "user: again", "assistant: two"));
  });

  test("events of other names and odd data are skipped", async (t) => {
    const { openTab } = await openScene(t);
    const wire = 'event: generation\ndata: not json\n\nevent: generation\ndata: null\n\nevent: news\ndata: {"active":true}\n\n';
    const { statuses } = await openTab(client, {
      fetch: async () => new Response(wire),
      reconnectBackoffMs: [50],
    });
    await until(() => statuses.filter(({ state }) => state === "reconnecting").length > 1);
    assert.deepEqual([...new Set(statuses.map(({ state, error }) => `${state} ${error}`))], [
      "connected undefined",
      "reconnecting undefined",
    ]);
  });
});

describe("races", { concurrency: true }, () => {
  test("a tab that sends while the history loads keeps its message", async (t) => {
    const { peer, openTab } = await openScene(t);
    const { chat, replaced } = await openTab(client);
    peer.begin(userMessage("theirs"), "a1");
    const release = peer.hold("history");
    peer.say("1");
    await until(() => peer.count("GET history") === 1 || peer.count("GET stream") === 1);
    peer.end();
    chat.sendMessage({ text: "mine" });
    await until(() => peer.count("POST send") === 1);
    release();
    await sleep(100);
    assert.equal(transcript(chat.messages)[0].startsWith("user: "), true);
    assert.ok(transcript(chat.messages).includes("user: mine"));
    peer.say("2");
    peer.end();
    await until(shows(chat, "user: theirs", "assistant: 1", "user: mine", "assistant: 2"));
    assert.deepEqual(replaced, []);
  });

  test("a turn that ends while the history loads is not resumed", async (t) => {
    const { peer, openTab } = await openScene(t);
    const { chat } = await openTab(client);
    const release = peer.hold("history");
    peer.begin(userMessage("hello"));
    peer.say("one");
    await until(() => peer.count("GET history") === 1);
    peer.end();
    await sleep(50);
    release();
    await until(shows(chat, "user: hello", "assistant: one"));
    assert.equal(peer.count("GET stream"), 0);
  });

  test("a turn that follows while the history of the last one loads is joined with all before it", async (t) => {
    const { peer, openTab } = await openScene(t);
    const { chat } = await openTab(client);
    const release = peer.hold("history");
    peer.begin(userMessage("first"));
    peer.say("1");
    await until(() => peer.count("GET history") === 1);
    peer.end();
    peer.begin(userMessage("second"));
    peer.say("2");
    await sleep(50);
    release();
    await until(shows(chat, "user: first", "assistant: 1", "user: second", "assistant: 2"));
    assert.equal(chat.status, "streaming");
    assert.equal(peer.count("GET stream"), 1);
  });

  test("a resume that answers 204 is not repeated at once", async (t) => {
    const { peer, openTab } = await openScene(t);
    const { chat } = await openTab(client);
    peer.refusals.stream = [204, 204];
    peer.begin(userMessage("hello"));
    peer.say("one");
    const begun = Date.now();
    await until(shows(chat, "user: hello", "assistant: one"));
    assert.ok(Date.now() - begun > 1500, "two looks before each try");
    assert.equal(peer.count("GET stream"), 3);
  });

  test("closing while the history loads changes nothing any more", async (t) => {
    const { peer, openTab } = await openScene(t);
    const { chat, watch, statuses } = await openTab(client);
    const release = peer.hold("history");
    peer.begin(userMessage("hello"));
    await until(() => peer.count("GET history") === 1);
    watch.close();
    release();
    await until(() => peer.watching === 0);
    await sleep(LOOKS_MS);
    assert.deepEqual(chat.messages, []);
    assert.equal(peer.count("GET stream"), 0);
    assert.deepEqual(statuses, [{ state: "connected" }]);
  });

  test("closing during an attach leaves the chat its stream and asks for nothing more", async (t) => {
    const { peer, openTab } = await openScene(t);
    const { chat, watch } = await openTab(client);
    peer.begin(userMessage("hello"));
    peer.say("one");
    await until(() => chat.status === "streaming");
    watch.close();
    peer.say(" two");
    peer.end();
    await until(shows(chat, "user: hello", "assistant: one two"));
    const asked = peer.requests.length;
    await sleep(LOOKS_MS);
    assert.equal(peer.requests.length, asked);
  });

  test("an outer signal closes, and one that is aborted already asks for nothing", async (t) => {
    const { peer, openTab } = await openScene(t);
    const controller = new AbortController();
    const { statuses } = await openTab(client, { signal: controller.signal });
    controller.abort();
    await until(() => peer.watching === 0);
    assert.deepEqual(statuses, [{ state: "connected" }]);
    const late = watchChat({ ...peer.urls, getChat: () => null, signal: controller.signal });
    late.close();
    await sleep(50);
    assert.equal(peer.count("GET watch"), 1);
  });

  test("watched twice, as under StrictMode, a turn is still shown once", async (t) => {
    const { peer, openTab, onClose } = await openScene(t);
    const { chat, watch } = await openTab(client);
    const again = watchChat({ ...peer.urls, getChat: () => chat });
    watch.close();
    const third = watchChat({ ...peer.urls, getChat: () => chat });
    onClose(again.close);
    onClose(third.close);
    await until(() => peer.watching === 2);
    peer.begin(userMessage("hello"));
    peer.say("one");
    await until(shows(chat, "user: hello", "assistant: one"));
    peer.say(" two");
    peer.end();
    await until(shows(chat, "user: hello", "assistant: one two"));
  });

  test("a hook's result is asked for anew, and counts as busy while there is none", async (t) => {
    const { peer, onClose } = await openScene(t);
    const { Chat, DefaultChatTransport } = client;
    const chat = new Chat({ id: "c1", transport: new DefaultChatTransport({ api: peer.api }) });
    // What a hook hands out: frozen in time, one per render, none before the first.
    let rendered = null;
    const render = () => {
      rendered = {
        status: chat.status,
        messages: chat.messages,
        setMessages: (messages) => (chat.messages = messages),
        resumeStream: () => chat.resumeStream(),
        stop: () => chat.stop(),
      };
    };
    const watch = watchChat({ ...peer.urls, getChat: () => rendered });
    onClose(watch.close);
    await until(() => peer.watching === 1);
    peer.begin(userMessage("hello"));
    peer.say("one");
    await sleep(50);
    assert.equal(peer.count("GET history"), 0);
    const renders = setInterval(render, 5);
    onClose(() => clearInterval(renders));
    await until(shows(chat, "user: hello", "assistant: one"));
    peer.end();
    await until(() => chat.status === "ready");
  });

  test("a callback that throws does not end the watching", async (t) => {
    const { peer, openTab } = await openScene(t);
    const { queueMicrotask } = globalThis;
    const thrown = [];
    t.mock.method(globalThis, "queueMicrotask", (task) => {
      queueMicrotask(() => {
        try {
          task();
        } catch (error) {
          thrown.push(error.message);
        }
      });
    });
    const { chat } = await openTab(client, {
      onStatus: () => {
        throw new Error("the page's own mistake");
      },
    });
    await until(() => peer.watching === 1);
    peer.begin(userMessage("hello"));
    peer.say("one");
    await until(shows(chat, "user: hello", "assistant: one"));
    assert.deepEqual(thrown, ["the page's own mistake"]);
  });
});
