// Chunks of the AI SDK's UI message stream, and Perdure's record of what the user posted.

import { Conversation, type Fold, isObject, type JsonObject, type Message, openCall, openText, parsed, type Part, type TextPart, type ToolPart } from "../message";

const USER_RECORD = "data-perdure-user";
/** Chunks that say where something begins or ends, and show nothing. */
const SILENT = new Set(["start-step", "finish-step"]);

export class AiSdkFold implements Fold {
  readonly #said = new Conversation();
  readonly #texts = new Map<string, TextPart>();
  readonly #pieces: string[] = [];
  /** How many parts the message had when its step began. */
  #stepStart = 0;

  get messages() {
    return this.#said.messages;
  }

  get usage() {
    return this.#said.usage;
  }

  feed(chunk: JsonObject, seqNum: number): void {
    const type = String(chunk.type);
    if (type === USER_RECORD) this.#user(chunk.data, seqNum);
    else if (type === "start" || type === "finish" || type === "message-metadata") this.#message(chunk, type, seqNum);
    else if (/^(text|reasoning)-(start|delta|end)$/.test(type)) this.#text(chunk, type, seqNum);
    else if (type.startsWith("tool-") && typeof chunk.toolCallId === "string") this.#tool(chunk, type, chunk.toolCallId, seqNum);
    else if (type === "tool-approval-response") this.#approved(chunk, seqNum);
    else if (type === "error") this.#said.showError(chunk.errorText, seqNum);
    else if (type === "abort") this.#said.note("stopped", seqNum);
    else if (type === "reset-step") this.#resetStep();
    else if (SILENT.has(type)) this.#step(seqNum);
    else {
      const part = partOf(chunk, seqNum);
      if (part) this.#said.answer(seqNum).parts.push(part);
      else this.#said.showEvent(chunk, seqNum);
    }
  }

  end(): void {
    this.#said.close();
  }

  /** A large record is cut into several, which carry its JSON in pieces. */
  #user(data: unknown, seqNum: number): void {
    if (!isObject(data)) return;
    if (typeof data.json === "string") {
      this.#pieces.push(data.json);
      const whole = this.#pieces.length === data.count ? parsed(this.#pieces.join("")) : undefined;
      if (isObject(whole)) this.#posted(whole, seqNum);
    } else {
      this.#posted(data, seqNum);
    }
  }

  #posted({ message: posted, trigger }: JsonObject, seqNum: number): void {
    if (!isObject(posted)) return;
    const isSentBack = posted.role === "assistant";
    const message = this.#said.add(isSentBack ? "assistant" : "user", seqNum, typeof posted.id === "string" ? posted.id : undefined);
    if (isSentBack) message.isSentBack = true;
    if (trigger === "regenerate-message") message.parts.push({ kind: "note", seqNum, text: "asks for another answer" });
    for (const part of Array.isArray(posted.parts) ? posted.parts : []) addPosted(message, part, seqNum);
  }

  #message(chunk: JsonObject, type: string, seqNum: number): void {
    const { messageId, messageMetadata: metadata, finishReason } = chunk;
    if (type === "start") {
      const current = this.#said.messages.at(-1);
      const isEmpty = current?.role === "assistant" && current.parts.length === 0;
      if (typeof messageId === "string" && current?.isSentBack && current.id === messageId) return;
      if (isEmpty) current.id = typeof messageId === "string" ? messageId : current.id;
      else this.#said.add("assistant", seqNum, typeof messageId === "string" ? messageId : undefined);
      this.#stepStart = 0;
    }
    if (isObject(metadata)) {
      this.#said.countTokens(metadata.usage ?? metadata.totalUsage ?? metadata);
      if (typeof metadata.model === "string") this.#said.usage.model = metadata.model;
    }
    if (typeof finishReason === "string" && !["stop", "tool-calls"].includes(finishReason)) this.#said.note(finishReason, seqNum);
  }

  #text(chunk: JsonObject, type: string, seqNum: number): void {
    const [kind, what] = type.split("-") as [TextPart["kind"], string];
    const key = `${kind} ${String(chunk.id)}`;
    if (what === "start") {
      const part = openText(kind, seqNum);
      this.#texts.set(key, part);
      this.#said.answer(seqNum).parts.push(part);
      return;
    }
    const part = this.#texts.get(key);
    if (!part) return;
    if (what === "delta" && typeof chunk.delta === "string") part.text += chunk.delta;
    if (what === "end") {
      part.isOpen = false;
      this.#texts.delete(key);
    }
  }

  #tool(chunk: JsonObject, type: string, callId: string, seqNum: number): void {
    let call = this.#said.call(callId);
    if (!call) {
      call = openCall(seqNum, callId, chunk.toolName);
      this.#said.answer(seqNum).parts.push(call);
    }
    switch (type) {
      case "tool-input-start":
        call.state = "input";
        break;
      case "tool-input-delta":
        if (typeof chunk.inputTextDelta === "string") call.inputText += chunk.inputTextDelta;
        break;
      case "tool-input-available":
        call.input = chunk.input;
        call.state = "called";
        break;
      case "tool-approval-request":
        call.state = "approval";
        break;
      case "tool-output-available":
        call.output = chunk.output;
        call.state = "answered";
        break;
      case "tool-output-denied":
        call.state = "denied";
        break;
      case "tool-input-error":
      case "tool-output-error":
        if (chunk.input !== undefined) call.input = chunk.input;
        call.errorText = String(chunk.errorText ?? "");
        call.state = "failed";
        break;
    }
  }

  #approved(chunk: JsonObject, seqNum: number): void {
    this.#said.note(chunk.approved === false ? "the call was denied" : "the call was approved", seqNum);
  }

  #step(seqNum: number): void {
    this.#texts.clear();
    this.#stepStart = this.#said.answer(seqNum).parts.length;
  }

  /** The provider tries the step again, so what it had said is taken back. */
  #resetStep(): void {
    this.#said.messages.at(-1)?.parts.splice(this.#stepStart);
    this.#texts.clear();
  }
}

/** A part of a message that the client posted. Of one that it sends back, only what it adds is news: results of tools. */
function addPosted(message: Message, part: unknown, seqNum: number): void {
  if (!isObject(part)) return;
  const type = String(part.type);
  if (type === "text" && typeof part.text === "string" && !message.isSentBack) {
    message.parts.push({ ...openText("text", seqNum, part.text), isOpen: false });
  } else if (typeof part.toolCallId === "string") {
    message.parts.push(postedCall(part, type, part.toolCallId, seqNum));
  } else if (!message.isSentBack) {
    const shown = partOf(part, seqNum);
    if (shown) message.parts.push(shown);
  }
}

function postedCall(part: JsonObject, type: string, callId: string, seqNum: number): ToolPart {
  const name = type === "dynamic-tool" ? part.toolName : type.slice("tool-".length);
  const call = openCall(seqNum, callId, name);
  call.input = part.input;
  call.output = part.output;
  if (typeof part.errorText === "string") call.errorText = part.errorText;
  call.state = POSTED_STATES[String(part.state)] ?? "called";
  return call;
}

const POSTED_STATES: Record<string, ToolPart["state"]> = {
  "output-available": "answered",
  "output-error": "failed",
  "output-denied": "denied",
  "approval-requested": "approval",
};

/** Chunks that are parts as they are. */
function partOf(chunk: JsonObject, seqNum: number): Part | undefined {
  const { type, url, mediaType, title, filename } = chunk;
  const named = typeof title === "string" ? title : typeof filename === "string" ? filename : undefined;
  switch (type) {
    case "source-url":
      return typeof url === "string" ? { kind: "source", seqNum, title: named ?? url, url } : undefined;
    case "source-document":
      return { kind: "source", seqNum, title: named ?? "document", url: undefined };
    case "file":
    case "reasoning-file":
      return typeof url === "string" ? { kind: "file", seqNum, mediaType: String(mediaType), url, name: named } : undefined;
    default:
      return undefined;
  }
}
