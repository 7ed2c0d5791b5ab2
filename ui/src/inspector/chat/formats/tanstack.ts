// AG-UI events of TanStack AI, the user's own message among them.

import { Conversation, type Fold, isObject, type JsonObject, type Message, nameOf, openCall, openText, parsed, plainText, type Role, type TextPart } from "../message";

/** Events that say where something begins or ends, and show nothing. */
const SILENT = new Set(["TEXT_MESSAGE_END", "REASONING_START", "REASONING_END", "REASONING_MESSAGE_START", "STEP_STARTED"]);

export class TanStackFold implements Fold {
  readonly #said = new Conversation();

  get messages() {
    return this.#said.messages;
  }

  get usage() {
    return this.#said.usage;
  }

  feed(event: JsonObject, seqNum: number): void {
    const type = nameOf(event);
    if (type === "TEXT_MESSAGE_START") this.#start(event, seqNum);
    else if (type === "TEXT_MESSAGE_CONTENT") this.#grow("text", this.#messageOf(event.messageId, seqNum), event.delta, seqNum);
    else if (type === "REASONING_MESSAGE_CONTENT") this.#grow("reasoning", this.#said.answer(seqNum), event.delta, seqNum);
    else if (type === "REASONING_MESSAGE_END" || type === "TEXT_MESSAGE_END") this.#close();
    else if (type.startsWith("TOOL_CALL_")) this.#tool(event, type, seqNum);
    else if (type === "STEP_FINISHED") this.#stepFinished(event, seqNum);
    else if (type === "RUN_STARTED") this.#close();
    else if (type === "RUN_FINISHED") this.#finished(event, seqNum);
    else if (type === "RUN_ERROR") this.#said.showError(event.message ?? (isObject(event.error) ? event.error.message : undefined), seqNum);
    else if (type === "MESSAGES_SNAPSHOT") this.#snapshot(event.messages, seqNum);
    else if (!SILENT.has(type)) this.#said.showEvent(event, seqNum);
  }

  end(): void {
    this.#said.close();
  }

  #start({ messageId, role }: JsonObject, seqNum: number): void {
    if (typeof messageId !== "string" || this.#named(messageId)) return;
    const current = this.#said.messages.at(-1);
    const speaker: Role = role === "user" || role === "system" ? role : "assistant";
    if (speaker === "assistant" && current?.role === "assistant" && current.id === undefined) current.id = messageId;
    else this.#said.add(speaker, seqNum, messageId);
  }

  #named(messageId: unknown): Message | undefined {
    return this.#said.messages.findLast(({ id }) => id !== undefined && id === messageId);
  }

  /** The message that an event belongs to: the one it names, the one that the assistant is at, or a new one. */
  #messageOf(messageId: unknown, seqNum: number): Message {
    const named = this.#named(messageId);
    if (named) return named;
    const answer = this.#said.answer(seqNum);
    if (answer.parts.length === 0 && answer.id === undefined && typeof messageId === "string") answer.id = messageId;
    return answer;
  }

  #grow(kind: TextPart["kind"], message: Message, delta: unknown, seqNum: number): void {
    if (typeof delta !== "string" || !delta) return;
    const last = message.parts.at(-1);
    if (last?.kind === kind && (kind === "text" || last.isOpen)) last.text += delta;
    else message.parts.push(openText(kind, seqNum, delta));
  }

  #close(): void {
    const last = this.#said.messages.at(-1)?.parts.at(-1);
    if (last?.kind === "text" || last?.kind === "reasoning") last.isOpen = false;
  }

  #tool(event: JsonObject, type: string, seqNum: number): void {
    const { toolCallId, delta } = event;
    let call = this.#said.call(toolCallId);
    if (type === "TOOL_CALL_START" && !call && typeof toolCallId === "string") {
      call = openCall(seqNum, toolCallId, event.toolCallName ?? event.toolName);
      this.#messageOf(event.parentMessageId, seqNum).parts.push(call);
    } else if (!call) {
      this.#said.showEvent(event, seqNum);
    } else if (type === "TOOL_CALL_ARGS") {
      if (typeof delta === "string") call.inputText += delta;
    } else if (type === "TOOL_CALL_END") {
      call.input = event.input ?? parsed(call.inputText) ?? call.input;
      if (call.state === "input") call.state = "called";
      if (event.result !== undefined && event.result !== null) this.#result(call, event.result, event);
    } else if (type === "TOOL_CALL_RESULT") {
      this.#result(call, event.content, event);
    }
  }

  #result(call: ReturnType<typeof openCall>, content: unknown, event: JsonObject): void {
    const own = isObject(event.metadata) && isObject(event.metadata.tanstack) ? event.metadata.tanstack : event;
    call.output = typeof content === "string" ? (parsed(content) ?? content) : content;
    call.state = own.state === "output-error" ? "failed" : "answered";
  }

  /** Older sources tell a thought at the end of its step. */
  #stepFinished(event: JsonObject, seqNum: number): void {
    const answer = this.#said.answer(seqNum);
    if (answer.parts.some(({ kind }) => kind === "reasoning")) return;
    this.#grow("reasoning", answer, event.delta ?? event.content, seqNum);
  }

  #finished(event: JsonObject, seqNum: number): void {
    this.#said.countTokens(event.usage);
    if (typeof event.model === "string") this.#said.usage.model = event.model;
    const { outcome } = event;
    if (isObject(outcome) && outcome.type === "interrupt") this.#interrupted(outcome.interrupts, seqNum);
    else if (event.model === "s2-stop") this.#said.note("stopped", seqNum);
    this.#close();
  }

  #interrupted(interrupts: unknown, seqNum: number): void {
    for (const interrupt of Array.isArray(interrupts) ? interrupts : []) {
      const call = isObject(interrupt) ? this.#said.call(interrupt.toolCallId) : undefined;
      if (call) call.state = "approval";
      else this.#said.note("waits for the user", seqNum);
    }
  }

  #snapshot(messages: unknown, seqNum: number): void {
    for (const message of Array.isArray(messages) ? messages : []) {
      if (!isObject(message)) continue;
      const role: Role = message.role === "user" || message.role === "system" ? message.role : "assistant";
      const shown = this.#said.add(role, seqNum, typeof message.id === "string" ? message.id : undefined);
      const text = plainText(message.parts ?? message.content);
      if (text) shown.parts.push({ ...openText("text", seqNum, text), isOpen: false });
    }
  }
}
