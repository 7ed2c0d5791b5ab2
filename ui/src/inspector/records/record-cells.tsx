import { memo } from "react";
import type { StreamRecord } from "../api/types";
import { commandOf, hex, label, meteredBytes, textOf } from "../decode";
import { formatBytes, formatCount, formatRelative, formatTime } from "../format";
import { Scissors, Shield } from "../icons";

/** More does not fit into a line. */
const PREVIEW_BYTES = 400;
const SHOWN_HEADERS = 3;
/** Whatever would begin another line: a row has one. */
const LINE_END = /\r\n|[\n\r\v\f\u0085\u2028\u2029]/g;

export type TimeForm = "absolute" | "relative";

interface RecordCellsProps {
  record: StreamRecord;
  time: TimeForm;
  now: number;
}

/** One line of a record: number, time, what it is, size. */
export const RecordCells = memo(
  function RecordCells({ record, time, now }: RecordCellsProps) {
    const { seqNum, timestamp } = record;
    return (
      <>
        <span role="gridcell" className="seq">
          {formatCount(seqNum)}
        </span>
        <time role="gridcell" className="when" title={formatTime(timestamp)}>
          {time === "absolute" ? <Time at={timestamp} /> : formatRelative(timestamp, now)}
        </time>
        <span role="gridcell" className="what">
          <What record={record} />
        </span>
        <span role="gridcell" className="size">
          {formatBytes(meteredBytes(record))}
        </span>
      </>
    );
  },
  (before, after) =>
    before.record === after.record &&
    before.time === after.time &&
    (after.time === "absolute" || before.now === after.now),
);

/** Where there is little room, only the time of the day is seen. */
function Time({ at }: { at: number }) {
  const [date, clock] = formatTime(at).split(" ");
  return clock === undefined ? date : (
    <>
      <span className="date">{date} </span>
      {clock}
    </>
  );
}

function What({ record }: { record: StreamRecord }) {
  const command = commandOf(record);
  if (command?.kind === "fence") {
    return (
      <>
        <span className="chip amber">
          <Shield /> fence
        </span>
        <span className="preview">{command.token === "" ? "cleared: anybody may write" : `now held by ${command.token}`}</span>
      </>
    );
  }
  if (command) {
    return (
      <>
        <span className="chip rust">
          <Scissors /> trim
        </span>
        <span className="preview">everything before {trimPoint(command.before)}</span>
      </>
    );
  }
  const { headers } = record;
  return (
    <>
      {headers.slice(0, SHOWN_HEADERS).map(({ name, value }, index) => (
        <span className="chip" key={index}>
          {label(name)}
          {value.length > 0 && <b>{label(value)}</b>}
        </span>
      ))}
      {headers.length > SHOWN_HEADERS && <span className="chip">+{headers.length - SHOWN_HEADERS}</span>}
      <Preview body={record.body} />
    </>
  );
}

function Preview({ body }: { body: Uint8Array }) {
  if (body.length === 0) return <span className="preview soft">empty</span>;
  const start = body.subarray(0, PREVIEW_BYTES);
  // The cut may be within a character of up to four bytes.
  const text = textOf(start) ?? [1, 2, 3].map((bytes) => textOf(start.subarray(0, -bytes))).find((found) => found !== undefined);
  if (text === undefined || isBinary(text)) return <span className="preview soft">{hex(body.subarray(0, 64))}</span>;
  return <span className="preview">{text.replace(LINE_END, "↵")}</span>;
}

/** Control characters that texts do not have. */
export function isBinary(text: string): boolean {
  return /[\u0000-\u0008\u000e-\u001a\u001c-\u001f]/.test(text);
}

export function trimPoint(before: bigint): string {
  return before > BigInt(Number.MAX_SAFE_INTEGER) ? "the end" : formatCount(Number(before));
}
