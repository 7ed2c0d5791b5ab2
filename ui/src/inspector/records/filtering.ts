// Which of the records held have a text in them.

import type { StreamRecord } from "../api/types";
import { commandOf, label, textOf } from "../decode";

const texts = new WeakMap<StreamRecord, string>();

export function matching(records: readonly StreamRecord[], wanted: string): StreamRecord[] {
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  return records.filter((record) => {
    const text = searched(record);
    return words.every((word) => text.includes(word));
  });
}

/** Header names and values, body, number and kind of command, in small letters. */
function searched(record: StreamRecord): string {
  const known = texts.get(record);
  if (known !== undefined) return known;
  const headers = record.headers.flatMap(({ name, value }) => [label(name), label(value)]);
  const parts = [String(record.seqNum), commandOf(record)?.kind ?? "", ...headers, textOf(record.body) ?? ""];
  const text = parts.join("\n").toLowerCase();
  texts.set(record, text);
  return text;
}
