// JSON, laid out and coloured. A text of any size is drawn in pieces that the browser can lay out.

import { useMemo } from "react";

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;
const COLOURED_CHARACTERS = 100_000;

export function JsonView({ value }: { value: unknown }) {
  const text = useMemo(() => JSON.stringify(value, null, 2), [value]);
  if (text.length > COLOURED_CHARACTERS) return <pre className="body">{text}</pre>;
  return <pre className="body">{coloured(text)}</pre>;
}

function coloured(text: string) {
  const pieces = [];
  let end = 0;
  for (const match of text.matchAll(TOKEN)) {
    const [whole, string, colon, word] = match;
    pieces.push(text.slice(end, match.index));
    const kind = string ? (colon ? "json-key" : "json-string") : word ? "json-word" : "json-number";
    pieces.push(
      <span key={match.index} className={kind}>
        {string ?? whole}
      </span>,
      colon ?? "",
    );
    end = match.index + whole.length;
  }
  pieces.push(text.slice(end));
  return pieces;
}
