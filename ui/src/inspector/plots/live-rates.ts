// How many records and bytes arrive each second, counted from the live tail.

import { useEffect, useState } from "react";
import type { StoreClient } from "../api/client";
import { isAbort } from "../api/errors";
import { followForever } from "../api/following";
import type { StreamRef } from "../api/types";
import { meteredBytes } from "../decode";

export const LIVE_SECONDS = 120;

export interface LiveRates {
  /** The seconds that are over, the last one first to leave. */
  times: number[];
  records: number[];
  bytes: number[];
  error: unknown;
}

export function useLiveRates(client: StoreClient, stream: StreamRef): LiveRates | undefined {
  const [rates, setRates] = useState<LiveRates>();
  useEffect(() => {
    const aborting = new AbortController();
    const began = seconds();
    const counts = new Map<number, { records: number; bytes: number }>();
    let error: unknown;
    const draw = () => {
      const now = seconds();
      const times = Array.from({ length: LIVE_SECONDS }, (_, index) => now - LIVE_SECONDS + index);
      for (const second of counts.keys()) if (second < now - LIVE_SECONDS) counts.delete(second);
      const counted = (key: "records" | "bytes") => times.map((second) => counts.get(second)?.[key] ?? 0);
      setRates({ times, records: counted("records"), bytes: counted("bytes"), error });
    };
    async function count() {
      const tail = await client.checkTail(stream, aborting.signal);
      await followForever(client, stream, tail.seqNum, aborting.signal, {
        onBatch: ({ records }) => {
          const second = Math.max(began, seconds());
          const sum = counts.get(second) ?? { records: 0, bytes: 0 };
          for (const record of records) {
            sum.records += 1;
            sum.bytes += meteredBytes(record);
          }
          counts.set(second, sum);
        },
        onState: () => undefined,
      });
    }
    count().catch((reason: unknown) => {
      if (isAbort(reason)) return;
      error = reason;
      draw();
    });
    const timer = setInterval(draw, 1_000);
    draw();
    return () => {
      aborting.abort();
      clearInterval(timer);
    };
  }, [client, stream]);
  return rates;
}

function seconds(): number {
  return Math.floor(Date.now() / 1000);
}
