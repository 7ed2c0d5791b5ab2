// Writers and readers of the npm package @s2-dev/streamstore, while the server's workers are replaced under them.
// PERDURE_URL and PERDURE_TOKEN say where the server is. A line on the standard output says that everybody has got
// further, the end of the standard input that it is enough; then all is compared with what the store holds.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(new URL("../npm/package.json", import.meta.url));
const { AppendInput, AppendRecord, S2 } = await import(pathToFileURL(require.resolve("@s2-dev/streamstore")).href);

const WRITERS = 4;
const STEP = 20; // acknowledged and seen records that count as further
const url = process.env.PERDURE_URL;
const s2 = new S2({ accessToken: process.env.PERDURE_TOKEN, endpoints: { account: url, basin: url } });
const basin = "moved-basin";
await s2.basins.ensure({ basin, config: { createStreamOnAppend: true, createStreamOnRead: true } });
const streams = Array.from({ length: WRITERS }, (_, number) => s2.basin(basin).stream(`stream-${number}`));
const acked = streams.map(() => new Map());
const seen = streams.map(() => new Map());

let enough = false;
process.stdin.resume().on("end", () => (enough = true));

let counted = [...acked, ...seen].map((found) => found.size);
function tellProgress() {
  const now = [...acked, ...seen].map((found) => found.size);
  if (now.every((size, index) => size >= counted[index] + STEP)) {
    counted = now;
    process.stdout.write("further\n");
  }
}

async function write(stream, found) {
  const session = await stream.appendSession();
  for (let number = 0; !enough; number++) {
    const bodies = [0, 1, 2].map((index) => `${number}/${index}`);
    const ticket = await session.submit(AppendInput.create(bodies.map((body) => AppendRecord.string({ body }))));
    const ack = await ticket.ack();
    bodies.forEach((body, index) => found.set(ack.start.seqNum + index, body));
    tellProgress();
  }
  await session.close();
}

async function follow(stream, found) {
  let expected = 0;
  const session = await stream.readSession({ start: { from: { seqNum: 0 } } });
  for await (const record of session) {
    assert.equal(record.seqNum, expected++, "a reader saw a record twice, or missed one");
    found.set(record.seqNum, record.body);
    tellProgress();
    if (enough) break;
  }
}

const reading = streams.map((stream, index) => follow(stream, seen[index]));
const writing = Promise.all(streams.map((stream, index) => write(stream, acked[index])));
await Promise.race([writing, ...reading]);
assert.ok(enough, "a reader ended by itself");
await writing; // a reader may be told first, and what is acknowledged by then is not all yet

for (const [index, stream] of streams.entries()) {
  const { tail } = await stream.checkTail();
  const stored = new Map();
  const all = { start: { from: { seqNum: 0 } }, stop: { limits: { count: tail.seqNum } } };
  for await (const record of await stream.readSession(all)) stored.set(record.seqNum, record.body);
  assert.deepEqual([...stored.keys()], [...Array(tail.seqNum).keys()], "the stream has gaps");
  for (const [number, body] of acked[index]) assert.equal(stored.get(number), body, "what was acknowledged is not there");
  for (const [number, body] of seen[index]) assert.equal(stored.get(number), body, "a reader saw what is not there");
}
process.exit(0); // readers may wait for a record that nobody writes any more
