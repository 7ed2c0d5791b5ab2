import type { UIMessage } from "ai";
import { memo } from "react";
import { CopyButton } from "./copy-button";
import { Again, Pencil } from "./icons";
import { Markdown } from "./markdown";
import { textOf } from "./message-text";
import { Part } from "./part";

interface MessageProps {
  message: UIMessage;
  isStreaming: boolean;
  onEdit: ((message: UIMessage) => void) | undefined;
  onRegenerate: (() => void) | undefined;
}

export function Message({ message, isStreaming, onEdit, onRegenerate }: MessageProps) {
  const fromUser = message.role === "user";
  return (
    <li
      className="message"
      data-role={message.role}
      data-streaming={isStreaming}
      data-testid={`message-${message.role}`}
      data-message-id={message.id}
    >
      <p className="who">{fromUser ? "You" : "Answer"}</p>
      <Parts message={message} />
      {!isStreaming && (
        <div className="actions">
          <CopyButton text={textOf(message)} />
          {fromUser && onEdit && (
            <button className="quiet" aria-label="Edit and send again" title="Edit" onClick={() => onEdit(message)}>
              <Pencil />
            </button>
          )}
          {!fromUser && onRegenerate && (
            <button className="quiet" aria-label="Answer again" title="Answer again" onClick={onRegenerate}>
              <Again />
            </button>
          )}
        </div>
      )}
    </li>
  );
}

/** Only the message that is being written is laid out anew. */
const Parts = memo(function Parts({ message }: { message: UIMessage }) {
  if (message.role === "user") return <p className="question">{textOf(message)}</p>;
  return message.parts.map((part, index) =>
    part.type === "text" ? <Markdown key={index} text={part.text} /> : <Part key={index} part={part} />,
  );
});
