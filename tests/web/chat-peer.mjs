// A chat server on loopback that does what a test tells it: the routes of a resumable chat, turns that run for as long
// as the test wants, and the faults that a real server would not show on demand.

import { createServer } from "node:http";
import { once } from "node:events";

const SSE = { "content-type": "text/event-stream", "cache-control": "no-store" };

export class ChatPeer {
  /** Every request, as `GET /history`. */
  requests = [];
  /** Statuses for the next requests of a route, as `{ history: [503] }`; 0 cuts the connection. */
  refusals = {};
  /** The headers of the last request of each route. */
  headers = {};

  #gates = {};
  #messages = [];
  #turn = null;
  #seqNum = 0;
  #watchers = new Set();
  #server = createServer((request, response) => this.#serve(request, response));

  static async open() {
    const peer = new ChatPeer();
    await peer.listen();
    return peer;
  }

  async listen(port = 0) {
    this.#server.listen(port, "127.0.0.1");
    await once(this.#server, "listening");
    this.port = this.#server.address().port;
    this.api = `http://127.0.0.1:${this.port}/chat`;
  }

  get urls() {
    return { watchUrl: `${this.api}/c1/watch`, historyUrl: `${this.api}/c1/history` };
  }

  /** Away, as a killed server is: nothing listens, every connection is cut. */
  async goAway() {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
    this.#watchers.clear();
  }

  async comeBack() {
    this.#server = createServer((request, response) => this.#serve(request, response));
    await this.listen(this.port);
  }

  // --- turns ---

  /** A turn begins: another tab's, unless a POST calls it. */
  begin(message = userMessage(`question ${this.#seqNum}`), answerId = `answer-${this.#seqNum}`) {
    this.#messages.push(message);
    this.#turn = { start: this.#seqNum, frames: [], answer: null, bodies: new Set() };
    this.#seqNum += 1;
    this.#announce("start");
    this.emit({ type: "start", messageId: answerId }, { type: "text-start", id: "t" });
    this.#turn.answer = { id: answerId, role: "assistant", parts: [{ type: "text", text: "", state: "done" }] };
    return this.#turn;
  }

  say(delta) {
    this.#turn.answer.parts[0].text += delta;
    this.emit({ type: "text-delta", id: "t", delta });
  }

  emit(...chunks) {
    for (const chunk of chunks) {
      this.#seqNum += 1;
      const frame = `id: ${this.#seqNum}\ndata: ${JSON.stringify(chunk)}\n\n`;
      this.#turn.frames.push(frame);
      for (const body of this.#turn.bodies) body.write(frame);
    }
  }

  /** The turn ends. `announceFirst`: watchers hear it before the bodies end. */
  end(event = "end", { announceFirst = false } = {}) {
    if (event === "error") this.emit({ type: "error", errorText: "An error occurred." });
    else this.emit({ type: "text-end", id: "t" }, { type: "finish" });
    const turn = this.#turn;
    this.#messages.push(turn.answer);
    this.#turn = null;
    this.#seqNum += 1;
    if (announceFirst) this.#announce(event, turn);
    for (const body of turn.bodies) body.end();
    if (!announceFirst) this.#announce(event, turn);
  }

  /** The chat is deleted: its log is gone, and a new one begins at 0 with the next turn. */
  delete() {
    this.#messages = [];
    this.#seqNum = 0;
    this.cutWatches();
  }

  // --- faults ---

  /** Cut the bodies that carry the running turn; the turn goes on. */
  cutBodies() {
    for (const body of this.#turn.bodies) body.destroy();
    this.#turn.bodies.clear();
  }

  cutWatches() {
    for (const watcher of this.#watchers) watcher.destroy();
    this.#watchers.clear();
  }

  /** Hold back the next answer of `route`, which tells what is true now; returns the function that lets it go. */
  hold(route) {
    let release;
    (this.#gates[route] ??= []).push(new Promise((resolve) => (release = resolve)));
    return release;
  }

  get watching() {
    return this.#watchers.size;
  }

  count(request) {
    return this.requests.filter((one) => one === request).length;
  }

  // --- routes ---

  async #serve(request, response) {
    const body = await text(request);
    const route = new URL(request.url, this.api).pathname.split("/").slice(3).join("/") || "send";
    this.requests.push(`${request.method} ${route}`);
    this.headers[route] = request.headers;
    const refusal = this.refusals[route]?.shift();
    const answer = refusal === undefined ? this.#answer(route, body, response) : () => refuse(response, refusal);
    await this.#gates[route]?.shift();
    answer();
  }

  #answer(route, body, response) {
    if (route === "send") return this.#send(body, response);
    if (route === "stream") return () => (this.#turn ? this.#follow(response) : response.writeHead(204).end());
    if (route === "watch") return () => this.#watch(response);
    const { start = this.#seqNum } = this.#turn ?? {};
    const history = JSON.stringify({ messages: this.#messages, nextSeqNum: start, active: this.#turn !== null });
    return () => response.writeHead(200, { "content-type": "application/json" }).end(history);
  }

  #send(body, response) {
    if (this.#turn) return () => response.writeHead(409).end("Stream already in use");
    this.begin(JSON.parse(body).messages.at(-1));
    return () => this.#follow(response);
  }

  #follow(response) {
    response.writeHead(200, SSE);
    response.write(this.#turn.frames.join(""));
    this.#turn.bodies.add(response);
  }

  #watch(response) {
    response.writeHead(200, SSE);
    response.write(": keep-alive\n\n" + this.#event("state"));
    this.#watchers.add(response);
    response.on("close", () => this.#watchers.delete(response));
  }

  #announce(event, turn = this.#turn) {
    for (const watcher of this.#watchers) watcher.write(this.#event(event, turn));
  }

  #event(event, turn = this.#turn) {
    const data = {
      event,
      active: this.#turn !== null,
      generationStart: turn?.start ?? null,
      nextSeqNum: this.#seqNum,
    };
    return `event: generation\ndata: ${JSON.stringify(data)}\n\n`;
  }
}

export function userMessage(text, id = `user-${text}`) {
  return { id, role: "user", parts: [{ type: "text", text }] };
}

/** The texts of a list of messages, as `user: hello`. */
export function transcript(messages) {
  return messages.map(
    ({ role, parts }) => `${role}: ${parts.map((part) => part.text ?? "").join("|")}`,
  );
}

function refuse(response, status) {
  if (status === 0) response.destroy();
  else response.writeHead(status).end(status === 409 ? "Stream already in use" : "");
}

async function text(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
