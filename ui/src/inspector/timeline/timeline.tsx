import type { StoreClient } from "../api/client";
import type { StreamRef } from "../api/types";

interface TimelineProps {
  client: StoreClient;
  stream: StreamRef;
  openRecord: (seqNum: number) => void;
}

export function Timeline({ stream }: TimelineProps) {
  return <p className="empty">No positions are known in {stream.stream}.</p>;
}
