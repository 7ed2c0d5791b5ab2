// JSON laid out for reading, from its text: a parsed value has lost digits of long numbers and all but one of equal names.

export type JsonKind = "name" | "string" | "number" | "word" | "space";

export interface JsonPiece {
  kind: JsonKind;
  text: string;
}

/** Deeper levels are indented no further, since thousands of them would be megabytes of blanks. */
const DEEPEST_INDENT = 40;
const QUOTE = 34;
const BACKSLASH = 92;

/** `json` is known to be JSON. Numbers stay as they were written; escapes in strings become what they stand for. */
export function laidOut(json: string): JsonPiece[] {
  const pieces: JsonPiece[] = [];
  let space = ""; // punctuation and line breaks since the last piece
  let depth = 0;
  let at = 0;
  const add = (kind: JsonKind, text: string) => {
    if (space) pieces.push({ kind: "space", text: space });
    space = "";
    pieces.push({ kind, text });
  };
  const line = () => `\n${"  ".repeat(Math.min(depth, DEEPEST_INDENT))}`;
  while (at < json.length) {
    const character = json[at]!;
    if (character === '"') {
      const end = endOfString(json, at);
      const written = json.slice(at, end);
      at = end;
      add(json[afterBlanks(json, at)] === ":" ? "name" : "string", written.includes("\\") ? JSON.stringify(JSON.parse(written)) : written);
    } else if (character === "{" || character === "[") {
      const close = character === "{" ? "}" : "]";
      at = afterBlanks(json, at + 1);
      if (json[at] === close) {
        space += character + close;
        at++;
      } else {
        depth++;
        space += character + line();
      }
    } else if (character === "}" || character === "]") {
      depth--;
      space += line() + character;
      at++;
    } else if (character === ",") {
      space += `,${line()}`;
      at++;
    } else if (character === ":") {
      space += ": ";
      at++;
    } else if (isBlank(character)) {
      at++;
    } else {
      let end = at + 1;
      while (end < json.length && !isBlank(json[end]!) && !",]}".includes(json[end]!)) end++;
      add(/[a-z]/.test(character) ? "word" : "number", json.slice(at, end));
      at = end;
    }
  }
  if (space) pieces.push({ kind: "space", text: space });
  return pieces;
}

/** Behind the closing quote of the string that begins at `start`. */
function endOfString(json: string, start: number): number {
  for (let at = start + 1; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (code === BACKSLASH) at++;
    else if (code === QUOTE) return at + 1;
  }
  return json.length;
}

function afterBlanks(json: string, start: number): number {
  let at = start;
  while (at < json.length && isBlank(json[at]!)) at++;
  return at;
}

function isBlank(character: string): boolean {
  return character === " " || character === "\n" || character === "\r" || character === "\t";
}
