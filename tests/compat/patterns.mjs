// Messages written and read by the npm package @s2-dev/streamstore-patterns, as told by jobs in JSON on the standard
// input; answers in JSON on the standard output. PERDURE_URL and PERDURE_TOKEN say where the server is.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(new URL("../npm/package.json", import.meta.url));
const { S2 } = await import(pathToFileURL(require.resolve("@s2-dev/streamstore")).href);
// The package has an entry for `import` only, which `require.resolve` does not see.
const patterns = new URL("../npm/node_modules/@s2-dev/streamstore-patterns/dist/index.js", import.meta.url);
const { serialization } = await import(patterns.href);

const url = process.env.PERDURE_URL;
const s2 = new S2({ accessToken: process.env.PERDURE_TOKEN, endpoints: { account: url, basin: url } });

// A message in a job is base64 text, or with `json` any value.
const bytesOf = (job) => (message) =>
  job.json ? new TextEncoder().encode(JSON.stringify(message)) : new Uint8Array(Buffer.from(message, "base64"));
const messageOf = (job) => (payload) =>
  job.json ? JSON.parse(new TextDecoder().decode(payload)) : Buffer.from(payload).toString("base64");

async function write(job) {
  const appends = await s2.basin(job.basin).stream(job.stream).appendSession();
  const session = new serialization.SerializingAppendSession(appends, bytesOf(job), job.options ?? {});
  const ranges = [];
  if (job.sink) {
    const writer = session.getWriter();
    for (const message of job.messages) await writer.write(message);
    await writer.close();
  } else {
    for (const message of job.messages) ranges.push(await session.submit(message));
    await session.close();
  }
  return { ranges };
}

async function read(job) {
  const range = { start: { from: { seqNum: job.from ?? 0 } }, stop: { limits: { count: job.count } } };
  const records = await s2.basin(job.basin).stream(job.stream).readSession(range, { as: "bytes" });
  const session = new serialization.DeserializingReadSession(records, messageOf(job), job.options ?? {});
  const messages = [];
  try {
    for await (const message of session) messages.push(message);
  } catch (error) {
    return { messages, error: { name: error.name, code: error.code, message: error.message } };
  }
  return { messages };
}

let input = "";
for await (const piece of process.stdin.setEncoding("utf8")) input += piece;
const answers = [];
for (const job of JSON.parse(input)) answers.push(await (job.do === "write" ? write(job) : read(job)));
const answered = JSON.stringify({ answers, largestChunk: serialization.MAX_CHUNK_BODY_BYTES });
process.stdout.write(answered, () => process.exit(0)); // its connections would stay open
