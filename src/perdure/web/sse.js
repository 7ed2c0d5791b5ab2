// Server-sent events: bytes in, in any slices; whole frames out, in order.

/** The parser without any I/O. */
export class SseParser {
  /** The `id` last seen in a finished frame, also in one without data. */
  lastEventId = "";
  /** The last `retry` in milliseconds, if the server sent one. */
  retryMs = undefined;

  // The decoder drops a byte order mark at the start and keeps the bytes of a character that is cut in two.
  #decoder = new TextDecoder();
  #line = "";
  #skipLineFeed = false;
  #frame = {};

  /** The frames that end within `bytes`. */
  push(bytes) {
    const frames = [];
    // Only LF, CRLF and CR end a line: U+2028 and its like are ordinary characters inside JSON.
    const pieces = this.#text(bytes).split(/\r\n|\r|\n/);
    pieces[0] = this.#line + pieces[0];
    this.#line = pieces.pop();
    for (const line of pieces) {
      if (line === "") this.#dispatch(frames);
      else this.#field(line);
    }
    return frames;
  }

  #text(bytes) {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text === "") return text;
    // A CR at the end of the last slice has ended its line already; the LF of the same CRLF must not end another.
    if (this.#skipLineFeed && text[0] === "\n") text = text.slice(1);
    this.#skipLineFeed = text === "" ? false : text.endsWith("\r");
    return text;
  }

  #field(line) {
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment, as keep-alive pings are
    const name = colon < 0 ? line : line.slice(0, colon);
    const rest = colon < 0 ? "" : line.slice(colon + 1);
    const value = rest[0] === " " ? rest.slice(1) : rest;
    if (name === "data") (this.#frame.data ??= []).push(value);
    else if (name === "event") this.#frame.event = value;
    else if (name === "id" && !value.includes("\0")) this.#frame.id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
  }

  #dispatch(frames) {
    const { event, data, id } = this.#frame;
    this.#frame = {};
    if (id !== undefined) this.lastEventId = id;
    if (data) frames.push({ event: event || "message", data: data.join("\n"), id });
  }
}

/**
 * The frames of a response body. A last frame without its blank line is dropped. Leaving the loop early cancels the
 * body; `onBytes` is called for whatever arrives, pings included. An abort of `signal` ends a wait for the body also
 * where nothing else would, and rejects with its reason.
 */
export async function* readFrames(body, { parser = new SseParser(), onBytes, signal } = {}) {
  const reader = body.getReader();
  // After an end or an error there is nothing left to cancel, and cancelling says so by rejecting.
  const cancel = () => void reader.cancel().catch(() => {});
  signal?.addEventListener("abort", cancel);
  try {
    for (;;) {
      signal?.throwIfAborted();
      const { done, value } = await reader.read();
      signal?.throwIfAborted();
      if (done) return;
      onBytes?.();
      yield* parser.push(value);
    }
  } finally {
    signal?.removeEventListener("abort", cancel);
    cancel();
  }
}
