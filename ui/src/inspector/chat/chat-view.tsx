import type { StoreClient } from "../api/client";
import type { StreamRef } from "../api/types";

interface ChatViewProps {
  client: StoreClient;
  stream: StreamRef;
  openRecord: (seqNum: number) => void;
}

export function ChatView({ stream }: ChatViewProps) {
  return <p className="empty">No chat is known in {stream.stream}.</p>;
}
