// Text streams from JavaScript, on the npm package @s2-dev/streamstore: what other implementations write and read.
// PERDURE_URL and PERDURE_TOKEN say where the server is.
//   write <basin> <stream>   claims the stream, stores each JSON string of the standard input, and ends it
//   read <basin> <stream>    prints the pieces of a stream as JSON strings until its end
//   stop <basin> <stream>    ends a stream
// `write` prints "claimed" when it may begin; every command prints "end" at the end.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const require = createRequire(new URL(process.env.PERDURE_NPM));
const { AppendInput, AppendRecord, S2 } = await import(pathToFileURL(require.resolve("@s2-dev/streamstore")).href);

const [command, basin, name] = process.argv.slice(2);
const url = process.env.PERDURE_URL;
const s2 = new S2({ accessToken: process.env.PERDURE_TOKEN, endpoints: { account: url, basin: url } });
const stream = s2.basin(basin).stream(name);
const say = (line) => process.stdout.write(`${line}\n`);

const fence = (token) => AppendRecord.string({ body: token, headers: [["", "fence"]], timestamp: new Date() });
const fenceOf = (record) =>
  record.headers.length === 1 && record.headers[0][0] === "" && record.headers[0][1] === "fence" ? record.body : null;
const isCommand = (record) => record.headers.length === 1 && record.headers[0][0] === "";

if (command === "write") {
  const token = "session-zzzz1";
  const ack = await stream.append(AppendInput.create([fence(token)], { fencingToken: "" }));
  say("claimed");
  let matchSeqNum = ack.end.seqNum;
  const session = await stream.appendSession();
  for await (const line of createInterface({ input: process.stdin })) {
    const record = AppendRecord.string({ body: JSON.parse(line) });
    await session.submit(AppendInput.create([record], { fencingToken: token, matchSeqNum: matchSeqNum++ }));
  }
  await session.submit(AppendInput.create([fence("end-zzzz2")], { fencingToken: token, matchSeqNum }));
  await session.close();
} else if (command === "read") {
  const session = await stream.readSession({ start: { from: { seqNum: 0 } } });
  for await (const record of session) {
    const token = fenceOf(record);
    if (token !== null && /^(end|error)-/.test(token)) break;
    if (!isCommand(record) && record.body) say(JSON.stringify(record.body));
  }
} else {
  await stream.append(AppendInput.create([fence("end-zzzz3")]));
}
say("end");
process.exit(0);
