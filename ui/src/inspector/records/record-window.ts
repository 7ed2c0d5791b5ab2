// The records that are held of a stream: some thousands around where one looks, whatever the length of the stream.

import type { StreamRecord } from "../api/types";
import { meteredBytes } from "../decode";

export const MOST_RECORDS = 4_000;
export const MOST_BYTES = 32 * 1024 * 1024;
/** What is left after a clearance, so that there is not one at every record. */
const KEPT_SHARE = 0.75;

export class RecordWindow {
  #records = new Map<number, StreamRecord>();
  #gone = new Set<number>();
  #bytes = 0;

  get size(): number {
    return this.#records.size;
  }

  get(seqNum: number): StreamRecord | undefined {
    return this.#records.get(seqNum);
  }

  /** Whether it is known that there is no such record (any more). */
  isGone(seqNum: number): boolean {
    return this.#gone.has(seqNum);
  }

  /** The records held, in their order. */
  held(): StreamRecord[] {
    return [...this.#records.values()].sort((one, other) => one.seqNum - other.seqNum);
  }

  /** `records` are what a read from `from` on gave: where they begin later, or leave numbers out, there is nothing. */
  put(from: number, records: readonly StreamRecord[]): void {
    let next = from;
    for (const record of records) {
      if (record.seqNum - next <= MOST_RECORDS) for (; next < record.seqNum; next++) this.#gone.add(next);
      if (!this.#records.has(record.seqNum)) this.#bytes += meteredBytes(record);
      this.#records.set(record.seqNum, record);
      next = record.seqNum + 1;
    }
  }

  /** From `first` up to `end`, nothing is stored. */
  putGone(first: number, end: number): void {
    for (let seqNum = first; seqNum < end; seqNum++) this.#gone.add(seqNum);
  }

  /** The first of these that has to be read, or undefined. */
  firstMissing(first: number, end: number): number | undefined {
    for (let seqNum = first; seqNum < end; seqNum++) {
      if (!this.#records.has(seqNum) && !this.#gone.has(seqNum)) return seqNum;
    }
    return undefined;
  }

  /** Let go of what is farthest from `center` if there is too much. */
  clear(center: number): void {
    if (this.#gone.size > MOST_RECORDS) this.#gone.clear();
    if (this.#records.size <= MOST_RECORDS && this.#bytes <= MOST_BYTES) return;
    const nearest = [...this.#records.keys()].sort((one, other) => Math.abs(one - center) - Math.abs(other - center));
    while (nearest.length > MOST_RECORDS * KEPT_SHARE || this.#bytes > MOST_BYTES * KEPT_SHARE) {
      const seqNum = nearest.pop();
      if (seqNum === undefined) return;
      this.#bytes -= meteredBytes(this.#records.get(seqNum)!);
      this.#records.delete(seqNum);
    }
  }

  /** Records below `first` were trimmed. */
  trim(first: number): void {
    for (const [seqNum, record] of this.#records) {
      if (seqNum >= first) continue;
      this.#bytes -= meteredBytes(record);
      this.#records.delete(seqNum);
    }
  }
}
