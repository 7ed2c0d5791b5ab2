// One stream as its view needs it: its ends, the records in sight, and what comes.

import type { StoreClient } from "../api/client";
import { ApiError, isAbort } from "../api/errors";
import { type FollowState, followForever } from "../api/following";
import type { ReadBatch, StreamRecord, StreamRef } from "../api/types";
import { commandOf } from "../decode";
import { RecordWindow } from "./record-window";

/** Read so many around what is in sight, so that scrolling meets what is there. */
const MARGIN = 150;
const READ_COUNT = 500;
/** Of what comes, only this close to what is in sight is kept. */
const NEAR = 1_500;
/** While one drags the scrollbar, only where it rests is read. */
const RESTS_MS = 40;
const TRIM_TAKES_MS = 500;

export interface SourceState {
  /** Neither end is known before the first answer. */
  opened: boolean;
  /** The first record that is kept, and what the next one will be. */
  first: number;
  tail: number;
  follow: FollowState;
  error: unknown;
  /** Changes with everything. */
  version: number;
}

const BEFORE: SourceState = { opened: false, first: 0, tail: 0, follow: { kind: "connecting" }, error: undefined, version: 0 };

export class RecordSource {
  readonly window = new RecordWindow();
  readonly #client: StoreClient;
  readonly #stream: StreamRef;
  readonly #closing = new AbortController();
  readonly #listeners = new Set<() => void>();
  #state = BEFORE;
  #wanted = { first: 0, end: 0 };
  #reading: { first: number; end: number; control: AbortController } | undefined;
  #resting = 0;
  #frame = 0;
  #next: Partial<SourceState> = {};

  constructor(client: StoreClient, stream: StreamRef) {
    this.#client = client;
    this.#stream = stream;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly snapshot = (): SourceState => this.#state;

  /** Find both ends, and follow the tail until it is closed. */
  async open(): Promise<void> {
    try {
      const { seqNum: tail } = await this.#client.checkTail(this.#stream, this.#closing.signal);
      const first = tail === 0 ? 0 : await this.#readFirst(tail);
      this.#change({ opened: true, first, tail });
      await followForever(this.#client, this.#stream, tail, this.#closing.signal, {
        onBatch: (batch) => this.#onBatch(batch),
        onState: (follow) => this.#onFollow(follow),
      });
    } catch (error) {
      if (!isAbort(error)) this.#change({ error });
    }
  }

  close(): void {
    this.#closing.abort();
    this.#reading?.control.abort();
    clearTimeout(this.#resting);
    cancelAnimationFrame(this.#frame);
  }

  /** What is in sight, the last excluded. */
  want(first: number, end: number): void {
    this.#wanted = { first, end };
    const reading = this.#reading;
    if (reading && (reading.end <= first || reading.first >= end)) {
      reading.control.abort();
      this.#reading = undefined;
      clearTimeout(this.#resting);
      this.#resting = window.setTimeout(() => void this.#fill(), RESTS_MS);
    } else if (!reading) {
      void this.#fill();
    }
  }

  /** The first record at or after a time, or the tail. */
  async seqNumAt(timestamp: number): Promise<number> {
    try {
      const { records } = await this.#client.read(this.#stream, { timestamp, count: 1 }, this.#closing.signal);
      return records[0]?.seqNum ?? this.#state.tail;
    } catch (error) {
      if (error instanceof ApiError && error.tail) return error.tail.seqNum;
      throw error;
    }
  }

  async #readFirst(tail: number): Promise<number> {
    const { records } = await this.#client.read(this.#stream, { seqNum: 0, count: 1 }, this.#closing.signal);
    return records[0]?.seqNum ?? tail; // everything was trimmed, or has expired
  }

  async #fill(): Promise<void> {
    if (this.#reading || !this.#state.opened || this.#closing.signal.aborted) return;
    const { first: least, tail } = this.#current();
    const first = Math.max(least, this.#wanted.first - MARGIN);
    const end = Math.min(tail, this.#wanted.end + MARGIN);
    // What is in sight goes before what is around it.
    const seqNum =
      this.window.firstMissing(Math.max(least, this.#wanted.first), Math.min(tail, this.#wanted.end)) ??
      this.window.firstMissing(first, end);
    if (seqNum === undefined) return;
    const control = new AbortController();
    const reading = { first: seqNum, end: seqNum + READ_COUNT, control };
    this.#reading = reading;
    try {
      const query = { seqNum, count: Math.min(READ_COUNT, Math.max(end - seqNum, 1)) };
      const { records } = await this.#client.read(this.#stream, query, control.signal);
      if (this.#reading !== reading) return;
      const last = records.at(-1);
      this.window.put(seqNum, records);
      if (!last) this.window.putGone(seqNum, end);
      else if (seqNum === least && records[0]!.seqNum > least) this.#change({ first: records[0]!.seqNum });
      this.window.clear((this.#wanted.first + this.#wanted.end) / 2);
      this.#change({ error: undefined });
    } catch (error) {
      if (isAbort(error) || this.#reading !== reading) return;
      this.#change({ error });
      return;
    } finally {
      if (this.#reading === reading) this.#reading = undefined;
    }
    void this.#fill();
  }

  #onFollow(follow: FollowState): void {
    if (follow.kind !== "live") return this.#change({ follow });
    this.#change({ follow, error: undefined }); // what failed while the server was away is tried again
    void this.#fill();
  }

  #onBatch({ records, tail }: ReadBatch): void {
    const before = this.#current().tail;
    const last = records.at(-1);
    const now = Math.max(before, tail?.seqNum ?? 0, last ? last.seqNum + 1 : 0);
    if (last && records[0]!.seqNum - this.#wanted.end < NEAR) {
      this.window.put(records[0]!.seqNum, records);
      this.window.clear((this.#wanted.first + this.#wanted.end) / 2);
    }
    if (records.some(isTrim)) setTimeout(() => void this.#moveFirst(), TRIM_TAKES_MS);
    if (now !== before || last) this.#change({ tail: now });
  }

  async #moveFirst(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    try {
      const first = await this.#readFirst(this.#current().tail);
      this.window.trim(first);
      this.#change({ first });
    } catch (error) {
      if (!isAbort(error)) this.#change({ error });
    }
  }

  #current(): SourceState {
    return { ...this.#state, ...this.#next };
  }

  /** Told once for each frame, however much comes. */
  #change(change: Partial<SourceState>): void {
    this.#next = { ...this.#next, ...change };
    if (this.#frame !== 0 || this.#closing.signal.aborted) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#state = { ...this.#state, ...this.#next, version: this.#state.version + 1 };
      this.#next = {};
      for (const listener of this.#listeners) listener();
    });
  }
}

function isTrim(record: StreamRecord): boolean {
  return commandOf(record)?.kind === "trim";
}
