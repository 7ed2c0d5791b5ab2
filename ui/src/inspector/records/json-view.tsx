// JSON of any size: what is long is not coloured, and is drawn in pieces that the browser can lay out.

import { useMemo } from "react";
import { laidOut } from "./json-layout";

const COLOURED_CHARACTERS = 100_000;

/** `json` is the text of a body that is known to be JSON. */
export function JsonView({ json }: { json: string }) {
  const pieces = useMemo(() => laidOut(json), [json]);
  if (json.length > COLOURED_CHARACTERS) return <pre className="body">{pieces.map(({ text }) => text).join("")}</pre>;
  return (
    <pre className="body">
      {pieces.map(({ kind, text }, index) =>
        kind === "space" ? (
          text
        ) : (
          <span key={index} className={`json-${kind}`}>
            {text}
          </span>
        ),
      )}
    </pre>
  );
}
