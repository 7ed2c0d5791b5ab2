// What an answer holds besides its text.

import { type DynamicToolUIPart, getToolName, isToolUIPart, type ToolUIPart, type UIMessage } from "ai";
import { Reasoning, Value } from "./aside";
import { webLink } from "./web-link";

type AnyPart = UIMessage["parts"][number];

export function Part({ part }: { part: AnyPart }) {
  if (isToolUIPart(part)) return <ToolCall part={part} />;
  switch (part.type) {
    case "reasoning":
      return <Reasoning text={part.text} isDone={part.state !== "streaming"} />;
    case "source-url":
      return <Source href={part.url} title={part.title ?? part.url} />;
    case "source-document":
      return <Source title={part.title} />;
    case "file":
      return <File url={part.url} mediaType={part.mediaType} name={part.filename} />;
    default:
      return null; // step marks, and data parts of which this page knows nothing
  }
}

const TOOL_STATES: Record<ToolUIPart["state"], string> = {
  "input-streaming": "being called…",
  "input-available": "running…",
  "approval-requested": "waits for approval",
  "approval-responded": "approval answered",
  "output-available": "done",
  "output-error": "failed",
  "output-denied": "denied",
};

function ToolCall({ part }: { part: ToolUIPart | DynamicToolUIPart }) {
  return (
    <details className="aside tool" data-state={part.state}>
      <summary>
        <code>{getToolName(part)}</code> <span>{TOOL_STATES[part.state]}</span>
      </summary>
      {part.input !== undefined && <Value label="Input" value={part.input} />}
      {part.state === "output-available" && <Value label="Output" value={part.output} />}
      {part.state === "output-error" && <Value label="Error" value={part.errorText} />}
    </details>
  );
}

function Source({ href, title }: { href?: string; title: string }) {
  const link = webLink(href);
  return <p className="source">{link ? <a {...link}>{title}</a> : title}</p>;
}

function File({ url, mediaType, name = mediaType }: { url: string; mediaType: string; name?: string | undefined }) {
  if (/^data:image\/(png|jpeg|gif|webp|avif);/.test(url)) return <img className="file" src={url} alt={name} />;
  return <Source href={url} title={name} />;
}
