import { useEffect, useMemo, useSyncExternalStore } from "react";
import type { StoreClient } from "../api/client";
import type { StreamRef } from "../api/types";
import { RecordSource, type SourceState } from "./record-source";

/** The source of a stream, open while it is shown. `turn`: another one opens it anew. */
export function useRecordSource(client: StoreClient, stream: StreamRef, turn: number): [RecordSource, SourceState] {
  const source = useMemo(() => new RecordSource(client, stream), [client, stream, turn]);
  useEffect(() => {
    void source.open();
    return () => source.close();
  }, [source]);
  return [source, useSyncExternalStore(source.subscribe, source.snapshot)];
}
