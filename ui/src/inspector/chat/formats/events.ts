// Events of an application: only it knows more of them than that they are JSON objects, but for a few usual ones.

import { Conversation, type Fold, isObject, type JsonObject, openText } from "../message";

export class EventsFold implements Fold {
  readonly #said = new Conversation();

  get messages() {
    return this.#said.messages;
  }

  get usage() {
    return this.#said.usage;
  }

  feed(event: JsonObject, seqNum: number): void {
    const { type, message, error } = event;
    if (type === "user_message" && typeof message === "string") {
      this.#said.add("user", seqNum).parts.push({ ...openText("text", seqNum, message), isOpen: false });
    } else if (type === "error" && (typeof message === "string" || isObject(error))) {
      this.#said.showError(message ?? (error as JsonObject).message, seqNum);
    } else {
      this.#said.showEvent(event, seqNum);
    }
  }

  end(): void {
    this.#said.close();
  }
}
