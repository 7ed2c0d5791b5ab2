// What the npm package @s2-dev/streamstore promises, asked of our server over both of its transports.
// PERDURE_URL and PERDURE_TOKEN say where the server is.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";

const require = createRequire(new URL("../npm/package.json", import.meta.url));
const {
  AppendInput,
  AppendRecord,
  BatchTransform,
  FencingTokenMismatchError,
  Producer,
  RangeNotSatisfiableError,
  S2,
  S2Error,
  SeqNumMismatchError,
} = await import(pathToFileURL(require.resolve("@s2-dev/streamstore")).href);

const url = process.env.PERDURE_URL;
const accessToken = process.env.PERDURE_TOKEN;
const client = (options = {}) => new S2({ accessToken, endpoints: { account: url, basin: url }, ...options });
const unique = (what) => `${what}-${randomBytes(6).toString("hex")}`;
const strings = (...bodies) => AppendInput.create(bodies.map((body) => AppendRecord.string({ body })));
const code = (wanted, status) => (error) => {
  assert.ok(error instanceof S2Error, String(error));
  assert.deepEqual([error.code, error.status], [wanted, status]);
  return true;
};

async function collect(session, wanted) {
  const found = [];
  for await (const record of session) {
    found.push(record);
    if (found.length === wanted) break;
  }
  return found;
}

describe("account", () => {
  const s2 = client();

  test("a basin is created, configured, listed and deleted", async () => {
    const basin = unique("basin");
    const config = {
      createStreamOnAppend: true,
      defaultStreamConfig: { retentionPolicy: { ageSecs: 3600 }, timestamping: { mode: "arrival", uncapped: true } },
    };
    const info = await s2.basins.create({ basin, config });
    assert.equal(info.name, basin);
    assert.ok(info.createdAt instanceof Date);
    const kept = await s2.basins.getConfig({ basin });
    assert.equal(kept.createStreamOnAppend, true);
    assert.deepEqual(kept.defaultStreamConfig.retentionPolicy, { ageSecs: 3600 });
    const changed = await s2.basins.reconfigure({ basin, defaultStreamConfig: null, createStreamOnRead: true });
    assert.equal(changed.createStreamOnRead, true);
    const { basins } = await s2.basins.list({ prefix: basin });
    assert.deepEqual(basins.map((item) => item.name), [basin]);
    await s2.basins.delete({ basin });
    for await (const item of s2.basins.listAll({ prefix: basin })) assert.fail(`still listed: ${item.name}`);
  });

  test("ensure tells what it did", async () => {
    const basin = unique("basin");
    assert.equal((await s2.basins.ensure({ basin })).result, "created");
    const config = { createStreamOnRead: true };
    assert.equal((await s2.basins.ensure({ basin, config })).result, "updated");
    assert.equal((await s2.basins.ensure({ basin, config })).result, "noop");
    const streams = s2.basin(basin).streams;
    assert.equal((await streams.ensure({ stream: "s" })).result, "created");
    const longer = { retentionPolicy: { infinite: {} } };
    assert.equal((await streams.ensure({ stream: "s", config: longer })).result, "updated");
    assert.equal((await streams.ensure({ stream: "s", config: longer })).result, "noop");
  });

  test("errors have their code", async () => {
    const basin = unique("basin");
    await s2.basins.create({ basin });
    await assert.rejects(s2.basins.create({ basin }), code("resource_already_exists", 409));
    await assert.rejects(s2.basins.getConfig({ basin: unique("none") }), code("basin_not_found", 404));
    const bad = { basin: unique("bad"), config: { defaultStreamConfig: { retentionPolicy: { ageSecs: 0 } } } };
    await assert.rejects(s2.basins.create(bad), code("invalid", 422));
  });

  test("streams with any name, and pages of them", async () => {
    const basin = unique("basin");
    await s2.basins.create({ basin });
    const { streams } = s2.basin(basin);
    const names = ["a/b", "a b", "a?b#%", "a😀"].sort();
    for (const stream of names) assert.equal((await streams.create({ stream })).name, stream);
    const listed = [];
    for await (const info of streams.listAll({ prefix: "a", limit: 2 })) listed.push(info.name);
    assert.deepEqual(listed.sort(), names);
    const config = await streams.getConfig({ stream: "a/b" });
    assert.equal(config.storageClass, "express");
    const changed = await streams.reconfigure({ stream: "a/b", timestamping: { mode: "client-require" } });
    assert.equal(changed.timestamping.mode, "client-require");
    await streams.delete({ stream: "a/b" });
    await assert.rejects(streams.getConfig({ stream: "nothing" }), code("stream_not_found", 404));
  });

  test("access tokens", async () => {
    const id = unique("token");
    const scope = { basins: { prefix: "" }, streams: { prefix: "" }, ops: ["list-basins"] };
    const { accessToken: secret } = await s2.accessTokens.issue({ id, scope });
    await assert.rejects(s2.accessTokens.issue({ id, scope }), code("resource_already_exists", 409));
    const limited = client({ accessToken: secret });
    await limited.basins.list();
    await assert.rejects(limited.basins.create({ basin: unique("no") }), code("permission_denied", 403));
    const { accessTokens } = await s2.accessTokens.list({ prefix: id });
    assert.deepEqual(accessTokens.map((item) => item.id), [id]);
    await s2.accessTokens.revoke({ id });
    await assert.rejects(s2.accessTokens.revoke({ id }), code("access_token_not_found", 404));
    await assert.rejects(client({ accessToken: "garbage" }).basins.list(), code("authn", 401));
  });

  test("locations and metrics", async () => {
    const locations = await s2.locations.list();
    const fallback = await s2.locations.getDefault();
    assert.ok(locations.some((location) => location.name === fallback.name));
    const basin = unique("basin");
    await s2.basins.create({ basin });
    const end = new Date();
    const start = new Date(end.getTime() - 3_600_000);
    for (const set of ["active-basins", "account-ops"]) {
      assert.ok(Array.isArray((await s2.metrics.account({ set, start, end })).values));
    }
    for (const set of ["append-ops", "read-ops", "append-throughput", "read-throughput", "basin-ops"]) {
      const { values } = await s2.metrics.basin({ basin, set, start, end, interval: "minute" });
      assert.ok(Array.isArray(values));
    }
    await assert.rejects(s2.metrics.basin({ basin, set: "storage" }), code("invalid", 422));
  });
});

for (const forceTransport of ["s2s", "fetch"]) {
  for (const compression of ["none", "gzip", "zstd"]) {
    describe(`streams over ${forceTransport}, compression ${compression}`, () => {
      const s2 = client({ compression });
      const name = unique("basin");
      const open = async (options) => {
        const stream = unique("stream");
        await s2.basin(name).streams.create({ stream });
        return s2.basin(name).stream(stream, { forceTransport, ...options });
      };

      before(() => s2.basins.create({ basin: name }));

      test("text and bytes are read in both forms", async () => {
        const stream = await open();
        const raw = new Uint8Array([0, 255, 7]);
        const ack = await stream.append(
          AppendInput.create([
            AppendRecord.string({ body: "héllo", headers: [["k", "v"], ["k", ""]] }),
            AppendRecord.bytes({ body: raw, headers: [[raw, raw]] }),
          ]),
        );
        assert.deepEqual([ack.start.seqNum, ack.end.seqNum], [0, 2]);
        const text = await stream.read({ start: { from: { seqNum: 0 } }, stop: { limits: { count: 1 } } });
        assert.deepEqual([text.records[0].body, text.records[0].headers], ["héllo", [["k", "v"], ["k", ""]]]);
        const bytes = await stream.read({ start: { from: { seqNum: 1 } } }, { as: "bytes" });
        assert.deepEqual(Buffer.from(bytes.records[0].body), Buffer.from(raw));
        assert.equal((await stream.checkTail()).tail.seqNum, 2);
        const input = { start: { from: { seqNum: 0 } }, stop: { limits: { count: 2 } } };
        const followed = await collect(await stream.readSession(input, { as: "bytes" }));
        assert.deepEqual(Buffer.from(followed[1].body), Buffer.from(raw));
        await stream.close();
      });

      test("streams are created with the configuration that comes along", async () => {
        const auto = s2.basin(unique("auto"));
        const config = { createStreamOnAppend: true, createStreamOnRead: true };
        await s2.basins.create({ basin: auto.name, config });
        const streamConfig = { retentionPolicy: { ageSecs: 3600 }, timestamping: { mode: "arrival" } };
        const open = (stream) => auto.stream(stream, { forceTransport });
        const input = { start: { from: { seqNum: 0 } }, streamConfig };
        const [appended, written, read, followed] = ["appended", "written", "read", "followed"].map(open);
        await appended.append(AppendInput.create([AppendRecord.string({ body: "a" })], { streamConfig }));
        const session = await written.appendSession({ streamConfig });
        await (await session.submit(strings("a"))).ack();
        await session.close();
        await assert.rejects(read.read(input), RangeNotSatisfiableError);
        const bounded = { ...input, stop: { limits: { count: 1 } } };
        await assert.rejects(async () => collect(await followed.readSession(bounded), 1), RangeNotSatisfiableError);
        for (const stream of [appended, written, read, followed]) {
          const made = await auto.streams.getConfig({ stream: stream.name });
          assert.deepEqual(made.retentionPolicy, { ageSecs: 3600 }, stream.name);
          assert.equal(made.timestamping.mode, "arrival", stream.name);
          await stream.close();
        }
      });

      test("conditions fail with their own errors", async () => {
        const stream = await open();
        await stream.append(strings("a"));
        const late = AppendInput.create([AppendRecord.string({ body: "b" })], { matchSeqNum: 0 });
        await assert.rejects(stream.append(late), (error) => {
          assert.ok(error instanceof SeqNumMismatchError);
          return error.expectedSeqNum === 1;
        });
        await stream.append(AppendInput.create([AppendRecord.fence("mine")]));
        const fenced = AppendInput.create([AppendRecord.string({ body: "c" })], { fencingToken: "yours" });
        await assert.rejects(stream.append(fenced), (error) => {
          assert.ok(error instanceof FencingTokenMismatchError);
          return error.expectedFencingToken === "mine";
        });
        await assert.rejects(stream.read({ start: { from: { seqNum: 9 } } }), RangeNotSatisfiableError);
        await stream.close();
      });

      test("an append session acknowledges in order, and stops at a failure", async () => {
        const stream = await open();
        const session = await stream.appendSession();
        const tickets = [];
        for (let number = 0; number < 20; number++) tickets.push(await session.submit(strings("x".repeat(3000), "y")));
        const acks = await Promise.all(tickets.map((ticket) => ticket.ack()));
        assert.deepEqual(acks.map((ack) => ack.start.seqNum), Array.from({ length: 20 }, (_, index) => index * 2));
        const wrong = AppendInput.create([AppendRecord.string({ body: "z" })], { matchSeqNum: 3 });
        const ticket = await session.submit(wrong);
        await assert.rejects(ticket.ack(), (error) => error instanceof SeqNumMismatchError && error.expectedSeqNum === 40);
        await assert.rejects(session.close());
        assert.equal((await stream.checkTail()).tail.seqNum, 40);
        await stream.close();
      });

      test("a reader follows a producer", async () => {
        const stream = await open();
        const wanted = 1500;
        const reader = stream.readSession({ start: { from: { seqNum: 0 } } }).then((session) => collect(session, wanted));
        const batches = new BatchTransform({ maxBatchRecords: 41, lingerDurationMillis: 5 });
        const producer = new Producer(batches, await stream.appendSession());
        const tickets = [];
        for (let number = 0; number < wanted; number++) {
          tickets.push(await producer.submit(AppendRecord.string({ body: String(number) })));
        }
        await producer.close();
        assert.equal((await tickets.at(-1).ack()).seqNum(), wanted - 1);
        const found = await reader;
        assert.deepEqual(found.map((record) => record.seqNum), Array.from({ length: wanted }, (_, index) => index));
        assert.ok(found.every((record) => record.body === String(record.seqNum)));
        await stream.close();
      });

      test("a session that is caught up says so", async () => {
        const stream = await open();
        await stream.append(strings("a", "b"));
        const session = await stream.readSession({ start: { from: { seqNum: 0 } } });
        const [first, second] = await collect(session, 2);
        assert.deepEqual([first.body, second.body], ["a", "b"]);
        await stream.close();
      });

      test("trim and the rest of a command record", async () => {
        const stream = await open();
        await stream.append(strings("0", "1", "2"));
        await stream.append(AppendInput.create([AppendRecord.trim(2)]));
        const { records } = await stream.read({ start: { from: { seqNum: 0 } }, ignoreCommandRecords: true });
        assert.deepEqual(records.map((record) => record.seqNum), [2]);
        await stream.close();
      });

      test("sealed streams need their key", async () => {
        for (const streamCipher of ["aegis-256", "aes-256-gcm"]) {
          const basin = unique("sealed");
          await s2.basins.create({ basin, config: { streamCipher } });
          const info = await s2.basin(basin).streams.create({ stream: "secret" });
          assert.equal(info.cipher, streamCipher);
          const bare = s2.basin(basin).stream("secret", { forceTransport });
          await assert.rejects(bare.append(strings("x")), code("bad_header", 400));
          const keyed = bare.withEncryptionKey(randomBytes(32).toString("base64"));
          await keyed.append(strings("hidden"));
          const input = { start: { from: { seqNum: 0 } }, stop: { limits: { count: 1 } } };
          const [record] = await collect(await keyed.readSession(input));
          assert.equal(record.body, "hidden");
          const wrong = bare.withEncryptionKey(randomBytes(32).toString("base64"));
          await assert.rejects(wrong.read({ start: { from: { seqNum: 0 } } }), code("decryption_failed", 400));
          for (const stream of [bare, keyed, wrong]) await stream.close();
        }
      });
    });
  }
}
