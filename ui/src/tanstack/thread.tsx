import type { UIMessage } from "@tanstack/ai-react";
import { memo } from "react";
import { Message } from "./message";

interface ThreadProps {
  messages: UIMessage[];
  busy: boolean;
  canDecide: boolean;
  onDecide: (approvalId: string, approved: boolean) => void;
}

/** The messages of a chat. Laid out anew only when they are others. */
export const Thread = memo(function Thread({ messages, busy, canDecide, onDecide }: ThreadProps) {
  const last = messages.at(-1);
  return (
    <ol className="thread" aria-label="Messages" aria-live="polite" aria-relevant="additions" aria-busy={busy}>
      {messages.map((message) => (
        <Message
          key={message.id}
          message={message}
          isStreaming={busy && message === last && message.role === "assistant"}
          onDecide={message === last ? onDecide : undefined}
          canDecide={canDecide}
        />
      ))}
      {busy && last?.role === "user" && <li className="waiting" aria-label="Waiting for the answer" />}
    </ol>
  );
});
