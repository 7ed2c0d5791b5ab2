// What one types to go somewhere in a stream.

export type Target = { kind: "record"; seqNum: number } | { kind: "time"; timestamp: number } | { kind: "back"; count: number };

/** `1,200` a sequence number, `-50` so many before the tail, else a time such as `14:30` or `2026-03-01 14:30`. */
export function parseTarget(text: string, now: Date): Target | undefined {
  const typed = text.trim();
  if (/^[\d,_\s]+$/.test(typed)) return numbered("record", typed);
  if (/^-[\d,_]+$/.test(typed)) return numbered("back", typed.slice(1));
  const ago = /^(\d+(?:\.\d+)?)\s*(s|m|min|h|d)(?:\s+ago)?$/.exec(typed);
  if (ago) return { kind: "time", timestamp: now.getTime() - Number(ago[1]) * UNIT_MS[ago[2] as keyof typeof UNIT_MS] };
  const clock = /^(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,3}))?)?$/.exec(typed);
  if (clock) {
    const [hours = 0, minutes = 0, seconds = 0] = clock.slice(1, 4).map((part) => Number(part ?? 0));
    const at = new Date(now);
    at.setHours(hours, minutes, seconds, Number((clock[4] ?? "").padEnd(3, "0")));
    return { kind: "time", timestamp: at.getTime() };
  }
  const timestamp = /\d{4}-\d{2}-\d{2}/.test(typed) ? Date.parse(typed) : NaN;
  return Number.isNaN(timestamp) ? undefined : { kind: "time", timestamp };
}

const UNIT_MS = { s: 1_000, m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000 };

function numbered(kind: "record" | "back", digits: string): Target | undefined {
  const value = Number(digits.replace(/[,_\s]/g, ""));
  if (digits.trim() === "" || !Number.isSafeInteger(value)) return undefined;
  return kind === "record" ? { kind, seqNum: value } : { kind, count: value };
}
