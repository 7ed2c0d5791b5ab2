// What the browser modules make of input that the tests make up: one JSON case a line in, one result a line out.
//
//   {wire: [base64, …]}  -> the frames that the SSE parser finds in these slices, its last id, its retry
//   {events: […]}        -> the message that they amount to, or why there is none

import readline from "node:readline";

import { accumulateMessage } from "../../src/perdure/web/anthropic.js";
import { SseParser } from "../../src/perdure/web/sse.js";

function parsed({ wire }) {
  const parser = new SseParser();
  const frames = wire.flatMap((slice) => parser.push(Buffer.from(slice, "base64")));
  return {
    frames: frames.map(({ event, data, id = null }) => [event, data, id]),
    lastEventId: parser.lastEventId,
    retryMs: parser.retryMs ?? null,
  };
}

function folded({ events }) {
  const before = JSON.stringify(events);
  try {
    const message = accumulateMessage(events);
    return { message, changed: JSON.stringify(events) !== before };
  } catch (error) {
    return { error: error.message };
  }
}

for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const testCase = JSON.parse(line);
  process.stdout.write(JSON.stringify(testCase.wire ? parsed(testCase) : folded(testCase)) + "\n");
}
