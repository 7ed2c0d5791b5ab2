// What is known of the positions of one stream, learnt by looking at some of them.

import { useEffect, useRef, useState } from "react";
import type { StoreClient } from "../api/client";
import { ApiError, isAbort } from "../api/errors";
import type { Position, StreamRecord, StreamRef } from "../api/types";
import { type Command, commandOf } from "../decode";
import { Curve, type Place, type Probe, type Span } from "./curve";

/** Records that are read all of them, so that fences and trims among them are known. */
export const READ_WHOLE_RECORDS = 5_000;
const LOOKS_AT_ONCE = 6;
/** Looks at one span before it is left as it is. */
const MOST_LOOKS = 240;
const TAIL_EVERY_MS = 2_000;

export interface Mark extends Place {
  command: Command;
}

export interface Ends {
  /** The first record that is left; undefined while none is. */
  first?: Place;
  tail?: Position;
  error?: unknown;
}

/** The ends of the stream, looked at again and again. */
export function useEnds(client: StoreClient, stream: StreamRef): Ends {
  const [ends, setEnds] = useState<Ends>({});
  useEffect(() => {
    const aborting = new AbortController();
    let timer: number | undefined;
    let known = -1;
    async function look() {
      const tail = await client.checkTail(stream, aborting.signal);
      if (tail.seqNum !== known) {
        known = tail.seqNum;
        const record = await firstRecord(client, stream, { kind: "seqNum", seqNum: 0 }, aborting.signal);
        setEnds(record ? { first: placeOf(record), tail } : { tail });
      }
      timer = window.setTimeout(again, TAIL_EVERY_MS);
    }
    const again = () => {
      look().catch((error: unknown) => {
        if (isAbort(error)) return;
        setEnds((ends) => (ends.tail ? ends : { error }));
        if (error instanceof ApiError && error.status === 0) timer = window.setTimeout(again, TAIL_EVERY_MS);
      });
    };
    again();
    return () => {
      aborting.abort();
      clearTimeout(timer);
    };
  }, [client, stream]);
  return ends;
}

/** The curve inside of a span, better known with every look until it is known well enough. */
export function useCurve(client: StoreClient, stream: StreamRef, first: Place | undefined, tail: Position | undefined, span: Span | undefined) {
  const known = useRef({ curve: new Curve(), marks: new Map<number, Mark>(), looks: 0, whole: [] as { from: number; to: number }[] });
  const [, redraw] = useState(0);
  const { from, to } = span ?? { from: 0, to: 0 };
  const firstSeqNum = first?.seqNum;
  const tailSeqNum = tail?.seqNum;

  useEffect(() => {
    if (!first || !tail || to <= from) return;
    const aborting = new AbortController();
    const { signal } = aborting;
    const { curve, marks, whole } = known.current;
    curve.add(first, { time: tail.timestamp, seqNum: tail.seqNum - 1 });
    const draw = () => !signal.aborted && redraw((count) => count + 1);

    async function refine() {
      for (let looks = 0; looks < MOST_LOOKS && !signal.aborted; ) {
        const start = Math.floor(curve.seqNumAt(from));
        const end = Math.ceil(curve.seqNumAt(to)) + 1;
        if (end - start <= READ_WHOLE_RECORDS) return readWhole(start, end);
        const probes = curve.probes({ from, to }, LOOKS_AT_ONCE);
        if (probes.length === 0) return;
        const found = await Promise.all(probes.map((probe) => firstRecord(client, stream, probe, signal)));
        probes.forEach((probe, index) => {
          const record = found[index];
          if (!record) return;
          curve.learn(probe, placeOf(record));
          note(record);
        });
        looks += probes.length;
        known.current.looks += probes.length;
        draw();
      }
    }

    async function readWhole(start: number, end: number) {
      if (whole.some((range) => range.from <= start && end <= range.to)) return draw();
      const places: Place[] = [];
      for (let seqNum = start; seqNum < end; ) {
        const { records } = await readOrNothing(client, stream, seqNum, end - seqNum, signal);
        const last = records.at(-1);
        if (!last) break;
        for (const record of records) {
          places.push(placeOf(record));
          note(record);
        }
        seqNum = last.seqNum + 1;
      }
      curve.add(...places);
      known.current.looks += places.length;
      whole.push({ from: start, to: end });
      draw();
    }

    function note(record: StreamRecord) {
      const command = commandOf(record);
      if (command) marks.set(record.seqNum, { ...placeOf(record), command });
    }

    draw();
    refine().catch((error: unknown) => {
      if (!isAbort(error)) console.info("the time line could not be refined", error);
    });
    return () => aborting.abort();
    // Of the ends only where they are counts.
  }, [client, stream, firstSeqNum, tailSeqNum, from, to]);

  const { curve, marks, looks, whole } = known.current;
  const start = Math.floor(curve.seqNumAt(from));
  const end = Math.ceil(curve.seqNumAt(to)) + 1;
  return {
    curve,
    marks: [...marks.values()].filter(({ time }) => from <= time && time <= to),
    looks,
    isWhole: whole.some((range) => range.from <= start && end <= range.to),
  };
}

/** The record that a probe finds; undefined behind the last one. */
export async function firstRecord(client: StoreClient, stream: StreamRef, probe: Probe, signal?: AbortSignal): Promise<StreamRecord | undefined> {
  const start = probe.kind === "seqNum" ? { seqNum: probe.seqNum } : { timestamp: Math.max(0, probe.time) };
  try {
    return (await client.read(stream, { ...start, count: 1, clamp: true, waitSecs: 0 }, signal)).records[0];
  } catch (error) {
    if (error instanceof ApiError && error.tail) return undefined;
    throw error;
  }
}

async function readOrNothing(client: StoreClient, stream: StreamRef, seqNum: number, count: number, signal: AbortSignal) {
  try {
    return await client.read(stream, { seqNum, count: Math.min(1000, count), clamp: true, waitSecs: 0 }, signal);
  } catch (error) {
    if (error instanceof ApiError && error.tail) return { records: [] };
    throw error;
  }
}

function placeOf({ seqNum, timestamp }: StreamRecord): Place {
  return { seqNum, time: timestamp };
}
