import type { StoreClient } from "../api/client";
import type { StreamRef } from "../api/types";

interface RecordsViewProps {
  client: StoreClient;
  stream: StreamRef;
  seqNum: number | undefined;
  onKey: (key: string) => void;
}

export function RecordsView({ stream }: RecordsViewProps) {
  return <p className="empty">{stream.stream}</p>;
}
