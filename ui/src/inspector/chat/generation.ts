// One generation as its records tell it: who claimed it, what was written, how it ended.

import type { StreamRecord } from "../api/types";
import { jsonOf, meteredBytes } from "../decode";
import { foldFor, type Format, formatOf } from "./formats/format";
import { TextFold } from "./formats/text";
import { type Fold, isObject, type JsonObject, type Message, type Usage } from "./message";
import { type FenceKind, fenceKind, offeredLeaseMs } from "./tokens";

export interface Point {
  seqNum: number;
  timestamp: number;
}

export interface Claim extends Point {
  token: string;
  /** What its writer offers: silent for longer, it is dead. Undefined if it offers nothing. */
  leaseMs: number | undefined;
}

export interface Ending extends Point {
  token: string;
  kind: FenceKind;
}

export interface Trim extends Point {
  before: bigint;
}

export type State =
  | "running"
  | "silent" // the lease is over, and nobody has ended it yet
  | "over"
  | "stopped"
  | "failed"
  | "abandoned" // its writer died, and somebody else ended it
  | "taken over" // another writer claimed the stream while it ran
  | "unclaimed"; // records that belong to no generation, or to one whose beginning is gone

/** Events kept while they may still turn out to be of another format; a chat says soon what it is. */
const MOST_UNDECIDED = 100;

export class Generation {
  /** Which one it is of those that were read, from 0 on. */
  readonly index: number;
  readonly claim: Claim | undefined;
  readonly first: Point;
  last: Point;
  records = 0;
  bytes = 0;
  /** Records without a body: a writer that has nothing to say keeps its lease with them. */
  renewals = 0;
  firstData: Point | undefined;
  lastData: Point | undefined;
  ending: Ending | undefined;
  takenOverBy: Point | undefined;
  readonly trims: Trim[] = [];
  /** Grows whenever something changed, for views that keep what they have drawn. */
  version = 0;

  /** The format of the generations before, for one that does not say. */
  readonly #usual: Format | undefined;
  #format: Format | undefined;
  #fold: Fold | TextFold | undefined;
  #undecided: [JsonObject, number][] | undefined = [];
  /** The silence before each of the last two records: one of them begins the batch that ends a generation. */
  #silences: [number, number] = [0, 0];

  constructor(index: number, claim: Claim | undefined, first: Point, usual: Format | undefined) {
    this.index = index;
    this.claim = claim;
    this.#usual = usual;
    this.first = this.last = first;
  }

  get format(): Format | undefined {
    return this.#format;
  }

  get messages(): readonly Message[] {
    return this.#fold?.messages ?? [];
  }

  get usage(): Usage {
    return this.#fold?.usage ?? {};
  }

  /** Take a record that is no fence. */
  feed(record: StreamRecord): void {
    this.#count(record);
    if (record.body.length === 0) {
      this.renewals += 1;
      return;
    }
    const at = pointOf(record);
    this.firstData ??= at;
    this.lastData = at;
    this.#say(record);
  }

  feedTrim(record: StreamRecord, before: bigint): void {
    this.#count(record);
    this.trims.push({ ...pointOf(record), before });
  }

  /** Take the fence that ends it. */
  end(record: StreamRecord, token: string): void {
    this.#count(record);
    this.ending = { ...pointOf(record), token, kind: fenceKind(token) };
    this.#fold?.end();
  }

  takeOver(by: Point): void {
    this.takenOverBy = by;
    this.version += 1;
    this.#fold?.end();
  }

  /** When its writer loses its right to write, unless it is heard of before; undefined if it offers no lease. */
  get leaseEnds(): number | undefined {
    return this.claim?.leaseMs === undefined ? undefined : this.last.timestamp + this.claim.leaseMs;
  }

  /** What it is at this time. */
  stateAt(now: number): State {
    if (this.takenOverBy) return "taken over";
    switch (this.ending?.kind) {
      case "end":
        return "over";
      case "stop":
        return "stopped";
      case "error":
        return this.#wasSilentForItsLease ? "abandoned" : "failed";
    }
    if (!this.claim) return "unclaimed";
    return this.leaseEnds !== undefined && now >= this.leaseEnds ? "silent" : "running";
  }

  /** A writer that lives renews its lease, so after a whole one without a word somebody else wrote the end. */
  get #wasSilentForItsLease(): boolean {
    const leaseMs = this.claim?.leaseMs;
    return leaseMs !== undefined && Math.max(...this.#silences) >= leaseMs;
  }

  #count(record: StreamRecord): void {
    this.#silences = [this.#silences[1], record.timestamp - this.last.timestamp];
    this.last = pointOf(record);
    this.records += 1;
    this.bytes += meteredBytes(record);
    this.version += 1;
  }

  #say({ body, seqNum }: StreamRecord): void {
    if (this.#fold instanceof TextFold) return this.#fold.feedBytes(body, seqNum);
    const event = objectOf(body);
    if (event) return this.#event(event, seqNum);
    if (this.#fold) return this.#fold.feed({ type: "no JSON object", body: new TextDecoder().decode(body) }, seqNum);
    this.#format = "text";
    this.#fold = new TextFold();
    this.#fold.feedBytes(body, seqNum);
  }

  #event(event: JsonObject, seqNum: number): void {
    if (this.#undecided) {
      const format = formatOf(event);
      this.#undecided.push([event, seqNum]);
      if (format || this.#undecided.length === 1) this.#refold(format ?? usualEvents(this.#usual), this.#undecided);
      else (this.#fold as Fold).feed(event, seqNum);
      if (format || this.#undecided.length > MOST_UNDECIDED) this.#undecided = undefined;
    } else {
      (this.#fold as Fold).feed(event, seqNum);
    }
  }

  #refold(format: Exclude<Format, "text">, events: [JsonObject, number][]): void {
    const fold = foldFor(format);
    for (const [event, seqNum] of events) fold.feed(event, seqNum);
    this.#format = format;
    this.#fold = fold;
  }
}

export function claimOf(record: StreamRecord, token: string): Claim {
  return { ...pointOf(record), token, leaseMs: offeredLeaseMs(token) };
}

export function pointOf({ seqNum, timestamp }: StreamRecord): Point {
  return { seqNum, timestamp };
}

function usualEvents(usual: Format | undefined): Exclude<Format, "text"> {
  return usual === undefined || usual === "text" ? "events" : usual;
}

function objectOf(body: Uint8Array): JsonObject | undefined {
  const value = jsonOf(body);
  return isObject(value) ? value : undefined;
}
