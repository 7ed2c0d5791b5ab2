import assert from "node:assert/strict";
import { test } from "node:test";

import { SseParser, readFrames } from "../../src/perdure/web/sse.js";

const encode = (text) => new TextEncoder().encode(text);

function parse(...slices) {
  const parser = new SseParser();
  const frames = slices.flatMap((slice) => parser.push(typeof slice === "string" ? encode(slice) : slice));
  return { frames, parser };
}

const data = (...slices) => parse(...slices).frames.map((frame) => frame.data);

test("a frame carries its event, its data and its id", () => {
  const { frames } = parse("event: generation\ndata: {}\nid: 7\n\ndata: x\n\n");
  assert.deepEqual(frames, [
    { event: "generation", data: "{}", id: "7" },
    { event: "message", data: "x", id: undefined },
  ]);
});

test("frames survive any slicing of the wire", () => {
  const wire = encode("\uFEFFid: 1\r\ndata: grüße \u{1F30D}\r\n\r\n: ping\n\nid: 2\rdata: a\rdata: b\r\rdata: c\n\n");
  const expected = ["grüße \u{1F30D}", "a\nb", "c"];
  for (let size = 1; size <= wire.length; size++) {
    const slices = [];
    for (let at = 0; at < wire.length; at += size) slices.push(wire.subarray(at, at + size));
    assert.deepEqual(data(...slices), expected, `in slices of ${size}`);
  }
});

test("only LF, CRLF and CR end a line", () => {
  for (const inside of ["\u2028", "\u2029", "\u0085", "\f", "\v"]) {
    assert.deepEqual(data(`data: "a${inside}b"\n\n`), [`"a${inside}b"`]);
  }
});

test("a CR at the end of a slice ends its line, and the LF that follows does not end another", () => {
  assert.deepEqual(data("data: a\r", "\ndata: b\r", "\n\r", "\n"), ["a\nb"]);
  assert.deepEqual(data("data: a\r", "data: b\r", "\r"), ["a\nb"]);
});

test("one space after the colon is optional, a second one is data", () => {
  assert.deepEqual(data("data:a\n\n", "data:  b\n\n", "data\n\n", "data:\n\n"), ["a", " b", "", ""]);
});

test("a byte order mark is dropped at the start and nowhere else", () => {
  assert.deepEqual(data("\uFEFFdata: a\n\n", "data: \uFEFFb\n\n"), ["a", "\uFEFFb"]);
});

test("a frame without data is not dispatched but moves the last id", () => {
  const { frames, parser } = parse("id: 5\n\n", "event: x\n\n", "id: 6\nretry: 300\n\n");
  assert.deepEqual(frames, []);
  assert.equal(parser.lastEventId, "6");
  assert.equal(parser.retryMs, 300);
});

test("an unterminated frame is dropped, and its id with it", () => {
  const { frames, parser } = parse("id: 1\ndata: a\n\nid: 2\ndata: b\n");
  assert.deepEqual(frames.map((frame) => frame.data), ["a"]);
  assert.equal(parser.lastEventId, "1");
});

test("an id with NUL, a retry that is no number and unknown fields are ignored", () => {
  const { frames, parser } = parse("id: a\0b\nretry: soon\nfoo: bar\ndata: x\n\n");
  assert.deepEqual(frames, [{ event: "message", data: "x", id: undefined }]);
  assert.equal(parser.lastEventId, "");
  assert.equal(parser.retryMs, undefined);
});

test("an event name does not stick to the next frame", () => {
  assert.deepEqual(parse("event: a\ndata: 1\n\ndata: 2\n\n").frames.map((frame) => frame.event), ["a", "message"]);
});

function bodyOf(slices, { failure } = {}) {
  let cancelled = false;
  const body = new ReadableStream({
    pull(controller) {
      if (slices.length) controller.enqueue(encode(slices.shift()));
      else if (failure) controller.error(failure);
      else controller.close();
    },
    cancel() {
      cancelled = true;
    },
  });
  return { body, isCancelled: () => cancelled };
}

test("leaving the loop cancels the body", async () => {
  const { body, isCancelled } = bodyOf(["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"]);
  for await (const frame of readFrames(body)) if (frame.data === "1") break;
  assert.equal(isCancelled(), true);
});

test("a body that breaks hands out what was whole, then its error", async () => {
  const { body } = bodyOf(["data: 1\n\ndata: 2"], { failure: new TypeError("network") });
  const seen = [];
  await assert.rejects(async () => {
    for await (const frame of readFrames(body)) seen.push(frame.data);
  }, new TypeError("network"));
  assert.deepEqual(seen, ["1"]);
});

test("pings count as bytes though they are no frames", async () => {
  const { body } = bodyOf([": ping\n\n", ": ping\n\n", "data: 1\n\n"]);
  let arrivals = 0;
  const frames = [];
  for await (const frame of readFrames(body, { onBytes: () => arrivals++ })) frames.push(frame);
  assert.equal(arrivals, 3);
  assert.equal(frames.length, 1);
});
