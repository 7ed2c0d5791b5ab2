// A text stream: bodies in, one text out. A character may be cut between two of them.

import { type Fold, Conversation, openText, type TextPart } from "../message";

export class TextFold implements Omit<Fold, "feed"> {
  readonly #said = new Conversation();
  readonly #decoder = new TextDecoder();
  #part: TextPart | undefined;

  get messages() {
    return this.#said.messages;
  }

  get usage() {
    return this.#said.usage;
  }

  feedBytes(body: Uint8Array, seqNum: number): void {
    if (!this.#part) {
      this.#part = openText("text", seqNum);
      this.#said.add("assistant", seqNum).parts.push(this.#part);
    }
    this.#part.text += this.#decoder.decode(body, { stream: true });
  }

  end(): void {
    if (this.#part) this.#part.text += this.#decoder.decode();
    this.#said.close();
  }
}
