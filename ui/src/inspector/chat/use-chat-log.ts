// The records of one stream, read as a chat, and followed.

import { useEffect, useState } from "react";
import type { StoreClient } from "../api/client";
import { isAbort } from "../api/errors";
import { type FollowState, followForever } from "../api/following";
import type { StreamRef } from "../api/types";
import { ChatLog } from "./log";

/** How many of the last records are read at first. */
export const WINDOW_RECORDS = 20_000;
/** The shortest time between two drawings: an answer may come in hundreds of records a second. */
const DRAW_EVERY_MS = 60;

export interface ReadChat {
  log: ChatLog;
  /** Grows with each drawing: the log is changed in place. */
  version: number;
  following: FollowState;
  /** Where the stream ended when it was opened; undefined until that is known. */
  tail: number | undefined;
  error: unknown;
  /** Where the reading began: 0, or later in a long stream. */
  from: number;
  readEarlier: () => void;
  retry: () => void;
}

const START = { log: new ChatLog(), version: 0, tail: undefined, error: undefined, from: 0 };

export function useChatLog(client: StoreClient, stream: StreamRef): ReadChat {
  const [windows, setWindows] = useState(1);
  const [attempt, setAttempt] = useState(0);
  const [seen, setSeen] = useState<Omit<ReadChat, "readEarlier" | "retry" | "following">>(START);
  const [following, setFollowing] = useState<FollowState>({ kind: "connecting" });

  useEffect(() => {
    const aborting = new AbortController();
    const log = new ChatLog();
    let timer: number | undefined;
    let drawn = { log, version: 0, tail: undefined as number | undefined, error: undefined as unknown, from: 0 };
    const draw = (more: Partial<typeof drawn> = {}) => {
      clearTimeout(timer);
      timer = undefined;
      drawn = { ...drawn, ...more, version: drawn.version + 1 };
      if (!aborting.signal.aborted) setSeen(drawn);
    };
    const drawSoon = () => {
      timer ??= window.setTimeout(draw, DRAW_EVERY_MS);
    };

    async function read() {
      const tail = await client.checkTail(stream, aborting.signal);
      const from = Math.max(0, tail.seqNum - windows * WINDOW_RECORDS);
      drawn = { ...drawn, tail: tail.seqNum, from };
      if (tail.seqNum === 0) draw();
      await followForever(client, stream, from, aborting.signal, {
        onBatch: ({ records }) => {
          log.feed(records);
          drawSoon();
        },
        onState: setFollowing,
      });
    }

    read().catch((error: unknown) => {
      if (!isAbort(error)) draw({ error });
    });
    return () => {
      aborting.abort();
      clearTimeout(timer);
    };
  }, [client, stream, windows, attempt]);

  return {
    ...seen,
    following,
    readEarlier: () => setWindows((count) => count * 2),
    retry: () => setAttempt((count) => count + 1),
  };
}

