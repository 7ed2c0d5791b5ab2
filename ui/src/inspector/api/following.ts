// A read session that comes back after each loss, for as long as somebody looks.

import type { StoreClient } from "./client";
import { ApiError, isAbort } from "./errors";
import type { ReadBatch, StreamRef } from "./types";

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8_000;

export type FollowState = { kind: "connecting" } | { kind: "live" } | { kind: "lost"; error: ApiError };

export interface Followed {
  onBatch: (batch: ReadBatch) => void;
  onState: (state: FollowState) => void;
}

/** Ends when `signal` is aborted, or with the `ApiError` of a refusal that will not change by itself. */
export async function followForever(
  client: StoreClient,
  stream: StreamRef,
  fromSeqNum: number,
  signal: AbortSignal,
  { onBatch, onState }: Followed,
): Promise<void> {
  let seqNum = fromSeqNum;
  let pause = FIRST_PAUSE_MS;
  onState({ kind: "connecting" });
  while (!signal.aborted) {
    try {
      for await (const batch of client.follow(stream, { seqNum, clamp: true }, signal)) {
        if (pause !== 0) onState({ kind: "live" });
        pause = 0; // it was connected, so it may come back at once, and then more slowly
        const last = batch.records.at(-1);
        if (last) seqNum = last.seqNum + 1;
        onBatch(batch);
      }
    } catch (error) {
      if (isAbort(error) || signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      if (isFinal(error)) throw error;
      onState({ kind: "lost", error });
    }
    pause = pause === 0 ? FIRST_PAUSE_MS : Math.min(pause * 2, LONGEST_PAUSE_MS);
    await paused(pause, signal);
  }
}

/** What asking again does not change. */
function isFinal({ status }: ApiError): boolean {
  return status >= 400 && status < 500 && status !== 408 && status !== 429;
}

function paused(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", done);
  });
}
