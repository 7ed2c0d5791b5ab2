// What a generation said, in the one shape in which every format is shown. Each part knows the record that began it.

export type JsonObject = { [key: string]: unknown };

export type Role = "user" | "assistant" | "system";

export type ToolState = "input" | "called" | "approval" | "answered" | "failed" | "denied";

export type Part =
  | TextPart
  | ToolPart
  | { kind: "source"; seqNum: number; title: string; url: string | undefined }
  | { kind: "file"; seqNum: number; mediaType: string; url: string; name: string | undefined }
  | { kind: "event"; seqNum: number; name: string; value: unknown }
  | { kind: "error"; seqNum: number; text: string }
  | { kind: "note"; seqNum: number; text: string };

export interface TextPart {
  kind: "text" | "reasoning";
  seqNum: number;
  text: string;
  /** Whether more of it may come. */
  isOpen: boolean;
}

export interface ToolPart {
  kind: "tool";
  seqNum: number;
  callId: string;
  name: string;
  state: ToolState;
  /** The input as it streamed, which may be half a JSON text; `input` once it is whole. */
  inputText: string;
  input?: unknown;
  output?: unknown;
  errorText?: string;
}

export interface Message {
  seqNum: number;
  role: Role;
  id: string | undefined;
  /** Said by the client about an earlier message: the results of tools that ran on its page, say. */
  isSentBack?: boolean;
  parts: Part[];
}

export interface Usage {
  model?: string;
  inputTokens?: number;
  outputTokens?: number;
}

/** Events of one generation in, what they say out. The messages are changed in place, so that work stays linear. */
export interface Fold {
  readonly messages: Message[];
  readonly usage: Usage;
  /** Take the next event, which is in the record of this number. One that fits nothing is shown as it is. */
  feed(event: JsonObject, seqNum: number): void;
  /** Nothing more comes. */
  end(): void;
}

/** The messages of one generation while they are put together. */
export class Conversation {
  readonly messages: Message[] = [];
  readonly usage: Usage = {};

  add(role: Role, seqNum: number, id?: string): Message {
    const message: Message = { seqNum, role, id, parts: [] };
    this.messages.push(message);
    return message;
  }

  /** The message that the assistant is at, begun if need be. */
  answer(seqNum: number): Message {
    const last = this.messages.at(-1);
    return last?.role === "assistant" && !last.isSentBack ? last : this.add("assistant", seqNum);
  }

  call(callId: unknown): ToolPart | undefined {
    if (typeof callId !== "string") return undefined;
    for (let index = this.messages.length - 1; index >= 0; index--) {
      const found = this.messages[index]?.parts.findLast((part) => part.kind === "tool" && part.callId === callId);
      if (found) return found as ToolPart;
    }
    return undefined;
  }

  countTokens(usage: unknown): void {
    if (!isObject(usage)) return;
    const input = usage.input_tokens ?? usage.inputTokens ?? usage.promptTokens;
    const output = usage.output_tokens ?? usage.outputTokens ?? usage.completionTokens;
    if (typeof input === "number") this.usage.inputTokens = input;
    if (typeof output === "number") this.usage.outputTokens = output;
  }

  /** What is shown for an event that changes no message. */
  showEvent(event: JsonObject, seqNum: number): void {
    this.answer(seqNum).parts.push({ kind: "event", seqNum, name: nameOf(event), value: event });
  }

  showError(text: unknown, seqNum: number): void {
    this.answer(seqNum).parts.push({ kind: "error", seqNum, text: typeof text === "string" && text ? text : "An error occurred." });
  }

  note(text: string, seqNum: number): void {
    this.answer(seqNum).parts.push({ kind: "note", seqNum, text });
  }

  close(): void {
    for (const { parts } of this.messages) {
      for (const part of parts) if (part.kind === "text" || part.kind === "reasoning") part.isOpen = false;
    }
  }
}

export function openText(kind: TextPart["kind"], seqNum: number, text = ""): TextPart {
  return { kind, seqNum, text, isOpen: true };
}

export function openCall(seqNum: number, callId: string, name: unknown): ToolPart {
  return { kind: "tool", seqNum, callId, name: typeof name === "string" ? name : "", state: "input", inputText: "" };
}

/** The value of JSON text; undefined while it is none. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export function nameOf(event: JsonObject): string {
  return typeof event.type === "string" ? event.type : "";
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The text of a message as SDKs keep it: text, or parts some of which are text. */
export function plainText(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content
    .map((part) => (isObject(part) ? (part.text ?? part.content) : undefined))
    .filter((text) => typeof text === "string")
    .join("");
}
