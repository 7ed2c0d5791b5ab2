// The inspector's reading of chats, as a filter: one stream a line in, its generations a line out.
//
//   {records: [{seqNum, timestamp, headers: [[name, value]], body}], now, slices}: names, values and bodies are base64.
import readline from 'node:readline';
import './typescript_hooks.mjs';

const { ChatLog } = await import('../../ui/src/inspector/chat/log.ts');

const bytes = (text) => new Uint8Array(Buffer.from(text, 'base64'));
const recordOf = ({ seqNum, timestamp, headers, body }) => ({
  seqNum,
  timestamp,
  headers: headers.map(([name, value]) => ({ name: bytes(name), value: bytes(value) })),
  body: bytes(body),
});

function read({ records, now, slices }) {
  const log = new ChatLog();
  for (let start = 0; start < records.length; start += slices) log.feed(records.slice(start, start + slices).map(recordOf));
  return {
    isChat: log.isChat,
    generations: log.generations.map((generation) => ({
      state: generation.stateAt(now),
      format: generation.format,
      claim: generation.claim,
      ending: generation.ending,
      first: generation.first,
      last: generation.last,
      records: generation.records,
      renewals: generation.renewals,
      leaseEnds: generation.leaseEnds,
      trims: generation.trims.map(({ before }) => String(before)),
      usage: generation.usage,
      messages: generation.messages,
    })),
  };
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(read(JSON.parse(line))) + '\n');
}
