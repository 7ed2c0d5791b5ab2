// The fold of TanStack AI's own client, newest and seed-era, as a filter: one JSON case a line in, one result a line out.
// Run with tests/npm as the working directory, where the packages are.
//
//   {version: "new" | "old", chunks}  -> {messages}: a `StreamProcessor` over the chunks. A chunk of type "--turn" is what
//       the tab does that sends: it tells the processor that a turn begins
import readline from 'node:readline';

const sdks = { new: await import('@tanstack/ai'), old: await import('tanstack-ai-14') };
console.error = console.warn = () => {};

function fold({ version, chunks }) {
  const processor = new sdks[version].StreamProcessor();
  for (const chunk of chunks) {
    if (chunk.type === '--turn') processor.prepareAssistantMessage();
    else processor.processChunk(chunk);
  }
  return { messages: processor.getMessages() };
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  let result;
  try {
    result = fold(JSON.parse(line));
  } catch (error) {
    result = { crashed: String(error?.stack ?? error) };
  }
  process.stdout.write(JSON.stringify(result) + '\n');
}
