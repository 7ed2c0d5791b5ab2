// The events of an Anthropic stream folded to the message that they amount to, by the rules of the API: counters of `usage`
// replace each other, a tool's input is parsed when its block ends, a delta that fits no block is passed over.

/** Blocks whose `input` arrives as pieces of JSON text. */
const TOOL_BLOCKS = new Set(["tool_use", "server_tool_use", "mcp_tool_use"]);

/** What a `message_delta` tells about the message; null counts as told. */
const ENDINGS = ["stop_reason", "stop_sequence", "container", "stop_details"];

export function createAccumulator() {
  return new Accumulator();
}

class Accumulator {
  #message;
  #blocks;
  #isDone;

  constructor() {
    this.reset();
  }

  reset() {
    this.#message = undefined;
    this.#blocks = new Map();
    this.#isDone = false;
  }

  isDone() {
    return this.#isDone;
  }

  push(event) {
    const { type, index, delta } = event;
    if (type === "message_start") this.#begin(event.message);
    else if (this.#message === undefined) return;
    else if (type === "message_stop") this.#isDone = true;
    else if (type === "content_block_start") this.#open(index, event.content_block);
    else if (type === "content_block_delta" && isObject(delta)) this.#blocks.get(index)?.push(delta);
    else if (type === "content_block_stop") this.#blocks.get(index)?.close();
    else if (type === "message_delta") this.#end(event);
  }

  finalMessage() {
    if (!this.#message) throw new Error("finalMessage called before message_start");
    if (!this.#isDone) throw new Error("finalMessage called before message_stop");
    const blocks = [...this.#blocks].sort(([one], [other]) => one - other);
    return { ...this.#message, content: blocks.map(([, block]) => block.content()) };
  }

  #begin(message) {
    if (!isObject(message)) return;
    this.reset();
    this.#message = { ...message, content: [] }; // SDKs go on folding into the very object that they have handed out
  }

  #open(index, content) {
    if (Number.isInteger(index) && isObject(content)) this.#blocks.set(index, new Block(content));
  }

  #end({ delta, usage }) {
    for (const key of ENDINGS) if (isObject(delta) && key in delta) this.#message[key] = delta[key];
    if (!isObject(usage)) return;
    const told = Object.entries(usage).filter(([, count]) => count !== null);
    this.#message.usage = { ...this.#message.usage, ...Object.fromEntries(told) };
  }
}

/** One content block. The events stay as they are: what changes is copied. */
class Block {
  #content;
  #inputJson;

  constructor(content) {
    this.#content = { ...content };
    this.#inputJson = TOOL_BLOCKS.has(content.type) ? "" : undefined;
  }

  content() {
    return this.#content;
  }

  push(delta) {
    const content = this.#content;
    switch (`${content.type} ${delta.type}`) {
      case "text text_delta":
        if (typeof delta.text === "string") content.text = (content.text ?? "") + delta.text;
        return;
      case "thinking thinking_delta":
        if (typeof delta.thinking === "string") content.thinking = (content.thinking ?? "") + delta.thinking;
        return;
      case "thinking signature_delta":
        if ("signature" in delta) content.signature = delta.signature;
        return;
      case "text citations_delta":
        if ("citation" in delta) content.citations = [...(content.citations ?? []), delta.citation];
        return;
      case "compaction compaction_delta":
        for (const key of ["content", "encrypted_content"]) if (key in delta) content[key] = delta[key];
        return;
    }
    if (delta.type === "input_json_delta" && typeof delta.partial_json === "string") {
      this.#inputJson = (this.#inputJson ?? "") + delta.partial_json;
    }
  }

  close() {
    if (this.#inputJson !== undefined && TOOL_BLOCKS.has(this.#content.type)) {
      try {
        this.#content.input = JSON.parse(this.#inputJson || "{}");
      } catch {
        // It stays what it was at the start.
      }
    }
    this.#inputJson = undefined;
  }
}

export function accumulateMessage(events) {
  const accumulator = createAccumulator();
  for (const event of events) accumulator.push(event);
  return accumulator.finalMessage();
}

export async function* messagesFromEvents(events) {
  const accumulator = createAccumulator();
  for await (const event of events) {
    accumulator.push(event);
    if (!accumulator.isDone()) continue;
    yield accumulator.finalMessage();
    accumulator.reset();
  }
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
