import type { UIMessage } from "@tanstack/ai-react";
import { memo } from "react";
import { CopyButton } from "../copy-button";
import { Markdown } from "../markdown";
import { Reasoning } from "../aside";
import { textOf } from "./message-text";
import { ToolCall } from "./tool-call";

interface MessageProps {
  message: UIMessage;
  isStreaming: boolean;
  /** Answers a call that waits for a decision; absent where it is too late. */
  onDecide: ((approvalId: string, approved: boolean) => void) | undefined;
  canDecide: boolean;
}

/** The messages that nothing happens to stay as they are. */
export const Message = memo(function Message({ message, isStreaming, onDecide, canDecide }: MessageProps) {
  return (
    <li
      className="message"
      data-role={message.role}
      data-streaming={isStreaming}
      data-testid={`message-${message.role}`}
      data-message-id={message.id}
    >
      <p className="who">{message.role === "user" ? "You" : "Answer"}</p>
      {message.role === "user" ? (
        <p className="question">{textOf(message)}</p>
      ) : (
        message.parts.map((part, index) => {
          switch (part.type) {
            case "text":
              return <Markdown key={index} text={part.content} />;
            case "thinking":
              return <Reasoning key={index} text={part.content} isDone={!isStreaming || part !== message.parts.at(-1)} />;
            case "tool-call":
              return <ToolCall key={part.id} call={part} onDecide={onDecide} canDecide={canDecide} />;
            default:
              return null; // a tool's result is shown with its call
          }
        })
      )}
      {!isStreaming && (
        <div className="actions">
          <CopyButton text={textOf(message)} />
        </div>
      )}
    </li>
  );
});
