// Events of OpenAI's Responses API, and what applications store among them: what the user said, what functions gave.

import { Conversation, type Fold, isObject, type JsonObject, nameOf, openCall, openText, parsed, type Part, plainText } from "../message";

export class ResponsesFold implements Fold {
  readonly #said = new Conversation();
  /** The parts of the response that is arriving, by their place in it. */
  readonly #parts = new Map<string, Part>();

  get messages() {
    return this.#said.messages;
  }

  get usage() {
    return this.#said.usage;
  }

  feed(event: JsonObject, seqNum: number): void {
    const type = nameOf(event);
    if (type === "user_message") {
      this.#said.add("user", seqNum).parts.push({ ...openText("text", seqNum, plainText(event.message)), isOpen: false });
    } else if (type === "response.created") {
      this.#parts.clear();
      this.#begin(event.response, seqNum);
    } else if (type === "response.output_item.added" || type === "response.output_item.done") {
      if (isObject(event.item)) this.#item(event, event.item, type.endsWith("done"), seqNum);
    } else if (type === "response.output_text.delta" || type === "response.refusal.delta") {
      this.#grow("text", event, seqNum);
    } else if (/^response\.reasoning(_summary)?_text\.delta$/.test(type)) {
      this.#grow("reasoning", event, seqNum);
    } else if (/^response\.(function_call_arguments|custom_tool_call_input)\.delta$/.test(type)) {
      const call = this.#parts.get(`tool ${event.output_index}`);
      if (call?.kind === "tool" && typeof event.delta === "string") call.inputText += event.delta;
    } else if (type === "response.output_text.annotation.added") {
      this.#cite(event.annotation, seqNum);
    } else if (type.endsWith("_call_output") && this.#said.call(event.call_id)) {
      this.#output(event);
    } else if (/^response\.(completed|incomplete|failed)$/.test(type)) {
      this.#finish(event.response, seqNum);
    } else if (type === "error") {
      this.#said.showError(event.message ?? (isObject(event.error) ? event.error.message : undefined), seqNum);
    } else if (!type.startsWith("response.")) {
      this.#said.showEvent(event, seqNum);
    }
  }

  end(): void {
    this.#said.close();
  }

  #begin(response: unknown, seqNum: number): void {
    const told = isObject(response) ? response : {};
    this.#said.add("assistant", seqNum, typeof told.id === "string" ? told.id : undefined);
    if (typeof told.model === "string") this.#said.usage.model = told.model;
  }

  #item({ output_index: index }: JsonObject, item: JsonObject, isDone: boolean, seqNum: number): void {
    const type = nameOf(item);
    if (!type.endsWith("_call")) return;
    let call = this.#parts.get(`tool ${index}`);
    if (call?.kind !== "tool") {
      call = openCall(seqNum, String(item.call_id ?? item.id), item.name ?? type);
      this.#parts.set(`tool ${index}`, call);
      this.#said.answer(seqNum).parts.push(call);
    }
    if (!isDone) return;
    const given = item.arguments ?? item.input ?? item.action;
    call.input = typeof given === "string" ? (parsed(given) ?? given) : given;
    call.state = type === "function_call" || type === "custom_tool_call" ? "called" : "answered";
  }

  #grow(kind: "text" | "reasoning", event: JsonObject, seqNum: number): void {
    const { delta, output_index: item, content_index: content, summary_index: summary } = event;
    const key = `${kind} ${item} ${content ?? summary}`;
    let part = this.#parts.get(key);
    if (part?.kind !== kind) {
      part = openText(kind, seqNum);
      this.#parts.set(key, part);
      this.#said.answer(seqNum).parts.push(part);
    }
    if (typeof delta === "string") part.text += delta;
  }

  #cite(annotation: unknown, seqNum: number): void {
    if (!isObject(annotation) || typeof annotation.url !== "string") return;
    const title = typeof annotation.title === "string" ? annotation.title : annotation.url;
    this.#said.answer(seqNum).parts.push({ kind: "source", seqNum, title, url: annotation.url });
  }

  #output(event: JsonObject): void {
    const call = this.#said.call(event.call_id);
    if (!call) return;
    call.output = typeof event.output === "string" ? (parsed(event.output) ?? event.output) : event.output;
    call.state = "answered";
  }

  #finish(response: unknown, seqNum: number): void {
    this.#said.close();
    if (!isObject(response)) return;
    this.#said.countTokens(response.usage);
    if (isObject(response.error)) this.#said.showError(response.error.message, seqNum);
    if (isObject(response.incomplete_details)) this.#said.note(String(response.incomplete_details.reason), seqNum);
  }
}
