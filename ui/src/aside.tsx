// What can be unfolded in an answer.

import { Markdown } from "./markdown";

export function Reasoning({ text, isDone }: { text: string; isDone: boolean }) {
  if (!text) return null;
  return (
    <details className="aside" open={!isDone}>
      <summary>{isDone ? "How it got there" : "Thinking…"}</summary>
      <Markdown text={text} />
    </details>
  );
}

export function Value({ label, value }: { label: string; value: unknown }) {
  return (
    <figure>
      <figcaption>{label}</figcaption>
      <pre>{typeof value === "string" ? value : JSON.stringify(value, null, 2)}</pre>
    </figure>
  );
}
