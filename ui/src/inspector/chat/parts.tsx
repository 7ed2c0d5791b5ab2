import { memo, type ReactNode, useState } from "react";
import { Markdown } from "../../markdown";
import { webLink } from "../../web-link";
import { formatCount } from "../format";
import type { Message, Part, TextPart, ToolPart, ToolState } from "./message";
import { type OpenRecord, SeqLink } from "./seq-link";

/** A longer value is folded up until somebody wants it. */
const LONG_VALUE = 400;
/** As much of a value as a page can bear. */
const LONGEST_VALUE = 100_000;
const LINE = 88;
const EVENTS_AT_ONCE = 40;

const TOOL_STATES: Record<ToolState, { name: string; tone: string }> = {
  input: { name: "input arrives", tone: "" },
  called: { name: "called", tone: "" },
  approval: { name: "waits for approval", tone: "amber" },
  answered: { name: "answered", tone: "bronze" },
  failed: { name: "failed", tone: "rust" },
  denied: { name: "denied", tone: "amber" },
};

export function MessageView({ message, openRecord }: { message: Message; openRecord: OpenRecord }) {
  return (
    <section className="said" data-role={message.role} aria-label={message.role}>
      <header>
        <span className="speaker">{message.isSentBack ? "sent back by the client" : message.role}</span>
        {message.id && (
          <code className="message-id" title="The id of the message">
            {message.id}
          </code>
        )}
        <SeqLink seqNum={message.seqNum} openRecord={openRecord} />
      </header>
      {grouped(message.parts).map((part, index) =>
        Array.isArray(part) ? (
          <Events key={index} events={part} openRecord={openRecord} />
        ) : (
          <PartView key={index} part={part} openRecord={openRecord} />
        ),
      )}
    </section>
  );
}

type EventPart = Extract<Part, { kind: "event" }>;
type Source = Extract<Part, { kind: "source" }>;

/** Parts in order, neighbouring events together. */
function grouped(parts: readonly Part[]): (Exclude<Part, EventPart> | EventPart[])[] {
  const found: (Exclude<Part, EventPart> | EventPart[])[] = [];
  for (const part of parts) {
    if (part.kind !== "event") {
      found.push(part);
      continue;
    }
    const last = found.at(-1);
    if (Array.isArray(last)) last.push(part);
    else found.push([part]);
  }
  return found;
}

function PartView({ part, openRecord }: { part: Exclude<Part, EventPart>; openRecord: OpenRecord }): ReactNode {
  switch (part.kind) {
    case "text":
      return <Text text={part.text} isOpen={part.isOpen} />;
    case "reasoning":
      return <Reasoning part={part} openRecord={openRecord} />;
    case "tool":
      return <Tool part={part} openRecord={openRecord} />;
    case "source":
      return <SourceLink source={part} />;
    case "file":
      return <File part={part} />;
    case "error":
      return (
        <p className="said-error">
          {part.text} <SeqLink seqNum={part.seqNum} openRecord={openRecord} />
        </p>
      );
    case "note":
      return (
        <p className="said-note">
          {part.text} <SeqLink seqNum={part.seqNum} openRecord={openRecord} />
        </p>
      );
  }
}

const Text = memo(function Text({ text, isOpen }: { text: string; isOpen: boolean }) {
  return (
    <div className="said-text" data-open={isOpen || undefined}>
      <Markdown text={text} />
    </div>
  );
});

function Reasoning({ part, openRecord }: { part: TextPart; openRecord: OpenRecord }) {
  return (
    <details className="reasoning" open={part.isOpen || part.text.length < LONG_VALUE}>
      <summary>
        {part.isOpen ? "thinks" : "thought"} <SeqLink seqNum={part.seqNum} openRecord={openRecord} />
      </summary>
      <p>{part.text || "(told in secret)"}</p>
    </details>
  );
}

function Tool({ part, openRecord }: { part: ToolPart; openRecord: OpenRecord }) {
  const { name, tone } = TOOL_STATES[part.state];
  const input = part.input === undefined ? part.inputText : part.input;
  return (
    <div className="tool">
      <header>
        <code>{part.name || part.callId}</code>
        <span className={`chip ${tone}`}>{name}</span>
        <SeqLink seqNum={part.seqNum} openRecord={openRecord} />
      </header>
      {input !== "" && <Value label="input" value={input} />}
      {part.output !== undefined && <Value label="output" value={part.output} />}
      {part.errorText !== undefined && <p className="said-error">{part.errorText || "It failed."}</p>}
    </div>
  );
}

function Value({ label, value }: { label: string; value: unknown }) {
  const text = typeof value === "string" ? value : compact(value);
  const shown = text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE)}…` : text;
  return (
    <details className="value" open={text.length < LONG_VALUE}>
      <summary>{label}</summary>
      <pre tabIndex={0}>{shown}</pre>
    </details>
  );
}

/** JSON in one line if it fits there. */
function compact(value: unknown): string {
  const line = JSON.stringify(value, null, 1).replace(/\n */g, " ");
  return line.length <= LINE ? line : JSON.stringify(value, null, 2);
}

function SourceLink({ source: { title, url } }: { source: Source }) {
  const link = webLink(url);
  return <p className="said-source">{link ? <a {...link}>{title}</a> : title}</p>;
}

/** Named, not loaded: what a file of somebody else's does in this page is not for it to decide. */
function File({ part }: { part: Extract<Part, { kind: "file" }> }) {
  const link = webLink(part.url);
  const name = part.name ?? part.mediaType;
  const isInline = part.url.startsWith("data:");
  return (
    <p className="said-source">
      {link ? <a {...link}>{name}</a> : name}
      <span className="soft"> {isInline ? `${part.mediaType}, in the record` : part.mediaType}</span>
    </p>
  );
}

function Events({ events, openRecord }: { events: readonly EventPart[]; openRecord: OpenRecord }) {
  const [limit, setLimit] = useState(EVENTS_AT_ONCE);
  const hidden = events.length - limit;
  return (
    <>
      {hidden > 0 && (
        <button className="button small" onClick={() => setLimit(limit * 4)}>
          Show {formatCount(Math.min(hidden, limit * 3))} earlier events of {formatCount(hidden)}
        </button>
      )}
      <ol className="events">
        {events.slice(-limit).map((event) => (
          <Event key={event.seqNum} event={event} openRecord={openRecord} />
        ))}
      </ol>
    </>
  );
}

const Event = memo(function Event({ event, openRecord }: { event: EventPart; openRecord: OpenRecord }) {
  const line = JSON.stringify(event.value);
  return (
    <li>
      <details>
        <summary>
          <b>{event.name || "event"}</b> <code>{line.slice(0, 300)}</code>
        </summary>
        <pre tabIndex={0}>{JSON.stringify(event.value, null, 2).slice(0, LONGEST_VALUE)}</pre>
      </details>
      <SeqLink seqNum={event.seqNum} openRecord={openRecord} />
    </li>
  );
});
