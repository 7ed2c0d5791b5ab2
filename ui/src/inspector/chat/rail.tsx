import type { ReactNode } from "react";
import { formatBytes, formatCount, formatDuration, formatTime } from "../format";
import type { Generation, Point, State } from "./generation";
import { Lease } from "./lease";
import { paceOf } from "./rates";
import { type OpenRecord, SeqLink } from "./seq-link";
import { STATES } from "./state-names";

interface RailProps {
  generation: Generation;
  state: State;
  now: number;
  openRecord: OpenRecord;
}

/** Beside what was said: when the stream was claimed and by which token, how long it took, how it ended. */
export function RailStart({ generation, openRecord }: RailProps) {
  const { claim, first } = generation;
  return (
    <div className="rail rail-start">
      <RailPoint label={claim ? "claimed" : "from"} at={claim ?? first} openRecord={openRecord}>
        {claim && <Token text={claim.token} />}
        {claim && <p className="soft">{claim.leaseMs === undefined ? "no lease" : `lease ${formatDuration(claim.leaseMs)}`}</p>}
      </RailPoint>
    </div>
  );
}

export function RailEnd(props: RailProps) {
  const { generation, state, now, openRecord } = props;
  const { ending, takenOverBy, first, last } = generation;
  const isOpen = state === "running" || state === "silent";
  return (
    <div className="rail rail-end">
      <Facts generation={generation} openRecord={openRecord} />
      <RailPoint
        label={<StateChip state={state} />}
        at={ending ?? takenOverBy ?? last}
        openRecord={openRecord}
        tone={STATES[state].tone}
        since={first.timestamp}
      >
        {ending && <Token text={ending.token} />}
        {isOpen && <Lease generation={generation} now={now} />}
      </RailPoint>
    </div>
  );
}

export function StateChip({ state }: { state: State }) {
  const { name, tone, meaning } = STATES[state];
  const colour = { live: "bronze", done: "", amber: "amber", rust: "rust", none: "" }[tone];
  return (
    <span className={`chip state ${colour}`} data-state={state} title={meaning}>
      {name}
    </span>
  );
}

interface RailPointProps {
  label: ReactNode;
  at: Point;
  openRecord: OpenRecord;
  tone?: string;
  /** A time that is told already: what is the same day is not told again. */
  since?: number;
  children?: ReactNode;
}

function RailPoint({ label, at, openRecord, tone = "done", since, children }: RailPointProps) {
  return (
    <div className="rail-point" data-tone={tone}>
      <p className="rail-label">
        {label} <SeqLink seqNum={at.seqNum} openRecord={openRecord} />
      </p>
      <time dateTime={isoOf(at.timestamp)} title={formatTime(at.timestamp)}>
        {since === undefined ? formatTime(at.timestamp) : timeAfter(since, at.timestamp)}
      </time>
      {children}
    </div>
  );
}

function Facts({ generation, openRecord }: { generation: Generation; openRecord: OpenRecord }) {
  const { records, bytes, trims, usage } = generation;
  const { durationMs, firstAfterMs, speed } = paceOf(generation);
  return (
    <ul className="pace">
      <li>
        {formatCount(records)} {records === 1 ? "record" : "records"}, {formatBytes(bytes)}
      </li>
      {durationMs > 0 && (
        <li>
          {seconds(durationMs)}
          {firstAfterMs !== undefined && firstAfterMs > 0 && `, first data after ${seconds(firstAfterMs)}`}
        </li>
      )}
      {speed && <li>{speed}</li>}
      {usage.outputTokens !== undefined && (
        <li>
          {usage.inputTokens !== undefined && `${formatCount(usage.inputTokens)} tokens in, `}
          {formatCount(usage.outputTokens)} tokens out
        </li>
      )}
      {usage.model && <li>{usage.model}</li>}
      {trims.map(({ seqNum, before }) => (
        <li key={seqNum}>
          {before > BigInt(Number.MAX_SAFE_INTEGER) - 1n ? "trims everything" : `trims what is before #${before}`}{" "}
          <SeqLink seqNum={seqNum} openRecord={openRecord} />
        </li>
      ))}
    </ul>
  );
}

/** The kind of a fencing token is at its beginning, what tells two of them apart behind that. */
function Token({ text }: { text: string }) {
  return (
    <code className="token" title={text}>
      {text}
    </code>
  );
}

function seconds(milliseconds: number): string {
  return milliseconds < 1_000 || milliseconds >= 60_000 ? formatDuration(milliseconds) : `${(milliseconds / 1000).toFixed(1)} s`;
}

function timeAfter(since: number, timestamp: number): string {
  const [day, time] = formatTime(timestamp).split(" ");
  return time !== undefined && formatTime(since).startsWith(`${day} `) ? time : formatTime(timestamp);
}

function isoOf(timestamp: number): string | undefined {
  const date = new Date(timestamp);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}
