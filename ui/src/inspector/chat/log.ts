// A stream's records as the generations of a chat.

import type { StreamRecord } from "../api/types";
import { commandOf } from "../decode";
import type { Format } from "./formats/format";
import { claimOf, Generation, pointOf } from "./generation";
import { fenceKind, isOfChat } from "./tokens";

/** Records in, in order and in any slices; generations out. A record that it has seen is passed over. */
export class ChatLog {
  readonly generations: Generation[] = [];
  /** The first sequence number that was not seen. */
  nextSeqNum = 0;
  /** The first record that was there to be read. */
  firstSeqNum: number | undefined;
  /** Whether a token is one that writers of generations make, so that this is a chat indeed. */
  isChat = false;
  #isInside = false;
  #format: Format | undefined;

  feed(records: Iterable<StreamRecord>): void {
    for (const record of records) {
      if (record.seqNum < this.nextSeqNum) continue;
      this.nextSeqNum = record.seqNum + 1;
      this.firstSeqNum ??= record.seqNum;
      this.#feed(record);
    }
  }

  get current(): Generation | undefined {
    return this.generations.at(-1);
  }

  #feed(record: StreamRecord): void {
    const command = commandOf(record);
    if (command?.kind === "fence") {
      this.isChat ||= isOfChat(command.token);
      if (fenceKind(command.token) === "holder") this.#claim(record, command.token);
      else this.#end(record, command.token);
      return;
    }
    const generation = this.#isInside ? (this.current as Generation) : this.#begin(record, undefined);
    if (command) generation.feedTrim(record, command.before);
    else generation.feed(record);
    this.#format = generation.format ?? this.#format;
  }

  #claim(record: StreamRecord, token: string): void {
    if (this.#isInside) this.current?.takeOver(pointOf(record));
    const generation = this.#begin(record, token);
    generation.records = 1;
  }

  #end(record: StreamRecord, token: string): void {
    const generation = this.#isInside ? (this.current as Generation) : this.#begin(record, undefined);
    generation.end(record, token);
    this.#isInside = false;
  }

  #begin(record: StreamRecord, token: string | undefined): Generation {
    const claim = token === undefined ? undefined : claimOf(record, token);
    const generation = new Generation(this.generations.length, claim, pointOf(record), this.#format);
    this.generations.push(generation);
    this.#isInside = true;
    return generation;
  }
}
