// Events of the Anthropic Messages API, and what Perdure stores among them: what the user said, and what tools gave.

import { Conversation, type Fold, isObject, type JsonObject, nameOf, openCall, openText, parsed, type Part, plainText } from "../message";

export class AnthropicFold implements Fold {
  readonly #said = new Conversation();
  /** The blocks of the message that is arriving, by their index. */
  readonly #blocks = new Map<unknown, Part>();

  get messages() {
    return this.#said.messages;
  }

  get usage() {
    return this.#said.usage;
  }

  feed(event: JsonObject, seqNum: number): void {
    const { index, delta, message } = event;
    switch (event.type) {
      case "user_message":
        this.#said.add("user", seqNum).parts.push({ ...openText("text", seqNum, plainText(message)), isOpen: false });
        return;
      case "message_start":
        this.#blocks.clear();
        this.#begin(isObject(message) ? message : {}, seqNum);
        return;
      case "content_block_start":
        if (isObject(event.content_block)) this.#open(index, event.content_block, seqNum);
        return;
      case "content_block_delta":
        if (isObject(delta)) this.#push(this.#blocks.get(index), delta, seqNum);
        return;
      case "content_block_stop":
        this.#close(this.#blocks.get(index));
        return;
      case "message_delta":
        this.#said.countTokens(event.usage);
        if (isObject(delta)) this.#stopped(delta.stop_reason, seqNum);
        return;
      case "message_stop":
        return;
      case "tool_result":
        this.#answer(event, seqNum);
        return;
      case "error":
        this.#said.showError(isObject(event.error) ? event.error.message : undefined, seqNum);
        return;
      default:
        this.#said.showEvent(event, seqNum);
    }
  }

  end(): void {
    this.#said.close();
  }

  #begin(message: JsonObject, seqNum: number): void {
    this.#said.add("assistant", seqNum, typeof message.id === "string" ? message.id : undefined);
    if (typeof message.model === "string") this.#said.usage.model = message.model;
    this.#said.countTokens(message.usage);
  }

  #open(index: unknown, block: JsonObject, seqNum: number): void {
    const kind = nameOf(block);
    const parts = this.#said.answer(seqNum).parts;
    let part: Part;
    if (kind === "text") part = openText("text", seqNum, plainText(block.text));
    else if (kind === "thinking") part = openText("reasoning", seqNum, plainText(block.thinking));
    else if (kind.endsWith("tool_use")) part = openCall(seqNum, String(block.id), block.name);
    else if (kind.endsWith("tool_result") && this.#said.call(block.tool_use_id)) return this.#answer(block, seqNum);
    else part = { kind: "event", seqNum, name: kind, value: block };
    if (part.kind === "tool" && isObject(block.input) && Object.keys(block.input).length > 0) part.input = block.input;
    this.#blocks.set(index, part);
    parts.push(part);
  }

  #push(part: Part | undefined, delta: JsonObject, seqNum: number): void {
    if (part?.kind === "text" && typeof delta.text === "string") part.text += delta.text;
    else if (part?.kind === "reasoning" && typeof delta.thinking === "string") part.text += delta.thinking;
    else if (part?.kind === "tool" && typeof delta.partial_json === "string") part.inputText += delta.partial_json;
    else if (delta.type === "citations_delta" && isObject(delta.citation)) this.#cite(delta.citation, seqNum);
  }

  #cite(citation: JsonObject, seqNum: number): void {
    const url = typeof citation.url === "string" ? citation.url : undefined;
    const title = citation.title ?? citation.document_title ?? url ?? citation.cited_text;
    const parts = this.#said.answer(seqNum).parts;
    if (typeof title !== "string" || parts.some((part) => part.kind === "source" && part.title === title && part.url === url)) return;
    parts.push({ kind: "source", seqNum, title, url });
  }

  #close(part: Part | undefined): void {
    if (part?.kind === "text" || part?.kind === "reasoning") part.isOpen = false;
    if (part?.kind !== "tool") return;
    part.input = part.inputText ? parsed(part.inputText) : (part.input ?? {});
    if (part.state === "input") part.state = "called";
  }

  #answer(result: JsonObject, seqNum: number): void {
    const call = this.#said.call(result.tool_use_id);
    if (!call) return this.#said.showEvent(result, seqNum);
    call.state = result.is_error ? "failed" : "answered";
    call.output = result.content;
  }

  #stopped(reason: unknown, seqNum: number): void {
    if (typeof reason === "string" && reason !== "end_turn" && reason !== "tool_use") this.#said.note(reason, seqNum);
  }
}
