import { type KeyboardEvent, type PointerEvent, type ReactNode, type RefObject, useEffect, useMemo, useRef, useState } from "react";
import type { StoreClient } from "../api/client";
import type { Position, StreamRef } from "../api/types";
import { formatCount, formatDuration, formatTime } from "../format";
import { Problem } from "../problem";
import { type Curve, densities, moved, type Place, type Span, zoomed } from "./curve";
import { countTicks, timeTicks } from "./ticks";
import { firstRecord, type Mark, READ_WHOLE_RECORDS, useCurve, useEnds } from "./use-positions";
import "../plots/as-table.css";
import "./timeline.css";

const LEFT = 76;
const RIGHT = 20;
const TOP = 26;
const GAP = 18;
const DENSITY_HEIGHT = 72;
const AXIS_HEIGHT = 30;
/** The curve takes what the window has left, within reason. */
const LEAST_HEIGHT = 200;
const MOST_HEIGHT = 560;
const AROUND_CURVE = TOP + GAP + DENSITY_HEIGHT + AXIS_HEIGHT + 170;
const SHORTEST_SPAN_MS = 100;
const TABLE_ROWS = 20;
const BAR_PX = 6;
/** Less than that is a click, not a choice of a span. */
const DRAG_PX = 5;

/** Those that looks came upon by chance would pass for all of them. */
const NO_MARKS: readonly Mark[] = [];

interface TimelineProps {
  client: StoreClient;
  stream: StreamRef;
  openRecord: (seqNum: number) => void;
}

/** Positions of a stream on a time line: which record was written when, and how many at a time. */
export function Timeline({ client, stream, openRecord }: TimelineProps) {
  const { first, tail, error } = useEnds(client, stream);
  if (error !== undefined) return <Problem error={error} />;
  if (!tail) return <p className="empty">Reading…</p>;
  if (!first) {
    return (
      <div className="empty">
        <p className="empty-title">No records</p>
        <p>{tail.seqNum === 0 ? "Nothing was appended to this stream yet." : `All ${formatCount(tail.seqNum)} records are trimmed or expired.`}</p>
      </div>
    );
  }
  return <Positions client={client} stream={stream} first={first} tail={tail} openRecord={openRecord} />;
}

interface PositionsProps extends TimelineProps {
  first: Place;
  tail: Position;
}

function Positions({ client, stream, first, tail, openRecord }: PositionsProps) {
  const whole = useMemo(() => wholeSpan(first, tail), [first.time, tail.timestamp]);
  const [chosen, choose] = useState<Span>();
  const span = chosen ?? whole;
  const [cursor, setCursor] = useState<number>();
  const { curve, marks, looks, isWhole } = useCurve(client, stream, first, tail, span);
  const section = useRef<HTMLElement>(null);
  const { height } = useSize(section);
  const at = cursor === undefined ? undefined : Math.max(span.from, Math.min(span.to, cursor));

  const change = (next: Span) => choose(next.from <= whole.from && next.to >= whole.to ? undefined : next);
  const zoom = (factor: number, around = at ?? (span.from + span.to) / 2) => change(zoomed(span, factor, around, whole));
  const open = async (time: number) => {
    const record = await firstRecord(client, stream, { kind: "time", time: Math.floor(time) });
    openRecord(record?.seqNum ?? Math.max(0, tail.seqNum - 1));
  };

  return (
    <section ref={section} className="timeline" aria-label="Time line">
      <div className="toolbar">
        <span className="count" role="status" aria-live="off">
          {at === undefined ? told(span, first, tail, isWhole, looks) : toldAt(curve, at, span)}
        </span>
        <JumpToTime onJump={open} placeholder={formatTime(tail.timestamp)} />
        <span className="zoom" role="group" aria-label="Zoom">
          <button className="button small" onClick={() => zoom(2)} disabled={chosen === undefined} aria-label="Zoom out">
            −
          </button>
          <button className="button small" onClick={() => zoom(0.5)} aria-label="Zoom in">
            +
          </button>
          <button className="button small" onClick={() => choose(undefined)} disabled={chosen === undefined}>
            Whole stream
          </button>
        </span>
      </div>
      <Picture
        curve={curve}
        marks={isWhole ? marks : NO_MARKS}
        curveHeight={Math.max(LEAST_HEIGHT, Math.min(MOST_HEIGHT, height - AROUND_CURVE))}
        span={span}
        first={first}
        tail={tail}
        cursor={at}
        onCursor={setCursor}
        onSpan={change}
        onZoom={zoom}
        onMove={(share) => change(moved(span, share * (span.to - span.from), whole))}
        onOpen={open}
      />
      <Legend isWhole={isWhole} marks={marks} openRecord={openRecord} />
      <AsTable curve={curve} span={span} />
    </section>
  );
}

function wholeSpan(first: Place, tail: Position): Span {
  const length = Math.max(SHORTEST_SPAN_MS, tail.timestamp - first.time);
  return { from: first.time - length * 0.01, to: first.time + length * 1.02 };
}

function told(span: Span, first: Place, tail: Position, isWhole: boolean, looks: number): ReactNode {
  const count = tail.seqNum - first.seqNum;
  return (
    <>
      {formatCount(count)} {count === 1 ? "record" : "records"}
      <span className="soft">
        {" "}
        · {formatDuration(span.to - span.from)} shown · {isWhole ? "every record read" : `drawn from ${formatCount(looks)} looks`}
      </span>
    </>
  );
}

function toldAt(curve: Curve, time: number, { from, to }: Span): string {
  const window = (to - from) / 100;
  const perSecond = ((curve.seqNumAt(time + window) - curve.seqNumAt(time - window)) / (2 * window)) * 1000;
  return `${formatTime(time)} · about #${formatCount(Math.round(curve.seqNumAt(time)))} · ${rate(perSecond)} records/s`;
}

function rate(value: number): string {
  return value >= 10 || value === 0 ? formatCount(Math.round(value)) : value.toFixed(value >= 1 ? 1 : 2);
}

interface PictureProps {
  curve: Curve;
  marks: readonly Mark[];
  curveHeight: number;
  span: Span;
  first: Place;
  tail: Position;
  cursor: number | undefined;
  onCursor: (time: number | undefined) => void;
  onSpan: (span: Span) => void;
  onZoom: (factor: number, around?: number) => void;
  onMove: (share: number) => void;
  onOpen: (time: number) => void;
}

function Picture(props: PictureProps) {
  const { curve, marks, curveHeight, span, first, tail, cursor, onCursor, onSpan, onZoom, onMove, onOpen } = props;
  const svg = useRef<SVGSVGElement>(null);
  const { width } = useSize(svg);
  const [drag, setDrag] = useState<Span>();
  const inner = Math.max(1, width - LEFT - RIGHT);

  const x = (time: number) => LEFT + ((time - span.from) / (span.to - span.from)) * inner;
  const timeAt = (clientX: number) => {
    const left = svg.current!.getBoundingClientRect().left;
    return span.from + ((clientX - left - LEFT) / inner) * (span.to - span.from);
  };
  const low = curve.seqNumAt(span.from);
  const high = Math.max(low + 1, curve.seqNumAt(span.to));
  const y = (seqNum: number) => TOP + curveHeight * (1 - (seqNum - low) / (high - low));

  const zooming = useRef(onZoom);
  zooming.current = onZoom;
  const timing = useRef(timeAt);
  timing.current = timeAt;
  useEffect(() => {
    // React listens to wheels passively, so that they would scroll the page as well.
    const element = svg.current!;
    const onWheel = (event: WheelEvent) => {
      event.preventDefault();
      zooming.current(2 ** (Math.sign(event.deltaY) * 0.4), timing.current(event.clientX));
    };
    element.addEventListener("wheel", onWheel, { passive: false });
    return () => element.removeEventListener("wheel", onWheel);
  }, []);

  const onPointerDown = (event: PointerEvent) => {
    if (event.button !== 0) return;
    svg.current!.setPointerCapture(event.pointerId);
    setDrag({ from: event.clientX, to: event.clientX });
  };
  const onPointerMove = (event: PointerEvent) => {
    onCursor(timeAt(event.clientX));
    if (drag) setDrag({ ...drag, to: event.clientX });
  };
  const onPointerUp = () => {
    if (!drag) return;
    setDrag(undefined);
    const [from, to] = [timeAt(Math.min(drag.from, drag.to)), timeAt(Math.max(drag.from, drag.to))];
    if (Math.abs(drag.to - drag.from) < DRAG_PX) onOpen(timeAt(drag.to));
    else onSpan({ from: Math.max(span.from, from), to: Math.min(span.to, to) });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = ((span.to - span.from) / 100) * (event.shiftKey ? 10 : 1);
    const here = cursor ?? (span.from + span.to) / 2;
    const acts: Record<string, () => void> = {
      ArrowLeft: () => (here - step < span.from ? onMove(-0.2) : onCursor(here - step)),
      ArrowRight: () => (here + step > span.to ? onMove(0.2) : onCursor(here + step)),
      Home: () => onCursor(first.time),
      End: () => onCursor(tail.timestamp),
      "+": () => onZoom(0.5, here),
      "=": () => onZoom(0.5, here),
      "-": () => onZoom(2, here),
      "0": () => onZoom(Number.MAX_SAFE_INTEGER),
      Enter: () => onOpen(here),
      Escape: () => onCursor(undefined),
    };
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  };

  const { version } = curve;
  const bars = useMemo(() => densities(curve, span, Math.max(1, Math.floor(inner / BAR_PX))), [curve, version, span, inner]);
  const path = useMemo(() => pathOf(curve, span, x, y), [curve, version, span, inner, curveHeight]);
  const most = Math.max(...bars, Number.MIN_VALUE);
  const barTop = TOP + curveHeight + GAP;
  const bottom = barTop + DENSITY_HEIGHT;
  return (
    <svg
      ref={svg}
      className="picture"
      height={bottom + AXIS_HEIGHT}
      tabIndex={0}
      role="slider"
      aria-label="Time. Arrow keys move, plus and minus zoom, Enter opens the record."
      aria-valuemin={span.from}
      aria-valuemax={span.to}
      aria-valuenow={cursor ?? span.to}
      aria-valuetext={toldAt(curve, cursor ?? span.to, span)}
      onPointerDown={onPointerDown}
      onPointerMove={onPointerMove}
      onPointerUp={onPointerUp}
      onPointerCancel={() => setDrag(undefined)}
      onPointerLeave={() => !drag && onCursor(undefined)}
      onKeyDown={onKeyDown}
      onBlur={() => onCursor(undefined)}
    >
      <g className="axis">
        {timeTicks(span.from, span.to, Math.max(2, inner / 130)).map(({ value, label }) => (
          <g key={value}>
            <line x1={x(value)} x2={x(value)} y1={TOP} y2={bottom} />
            <text x={x(value)} y={bottom + 18} textAnchor="middle">
              {label}
            </text>
          </g>
        ))}
        {countTicks(low, high, 6).map((value) => (
          <g key={value}>
            <line x1={LEFT} x2={LEFT + inner} y1={y(value)} y2={y(value)} />
            <text x={LEFT - 8} y={y(value) + 4} textAnchor="end">
              #{formatCount(value)}
            </text>
          </g>
        ))}
        <text x={LEFT - 8} y={barTop + 10} textAnchor="end">
          {rate((most / ((span.to - span.from) / bars.length)) * 1000)}/s
        </text>
      </g>
      {first.seqNum > 0 && first.time >= span.from && (
        <g className="trimmed">
          <rect x={LEFT} width={Math.max(0, x(first.time) - LEFT)} y={TOP} height={curveHeight} />
          <text x={Math.max(LEFT, x(first.time)) + 6} y={TOP + curveHeight - 8}>
            trimmed before #{formatCount(first.seqNum)}
          </text>
        </g>
      )}
      <clipPath id="timeline-inner">
        <rect x={LEFT} y={0} width={inner} height={bottom} />
      </clipPath>
      <g clipPath="url(#timeline-inner)">
        <g className="bars">
          {bars.map((count, index) => {
            const size = (count / most) * DENSITY_HEIGHT;
            const left = LEFT + (index / bars.length) * inner;
            return count > 0 && <rect key={index} x={left + 0.5} y={bottom - Math.max(1, size)} width={inner / bars.length - 1} height={Math.max(1, size)} />;
          })}
        </g>
        <path className="curve" d={path} />
        {x(tail.timestamp) <= LEFT + inner && (
          <g className="tail">
            <line x1={x(tail.timestamp)} x2={x(tail.timestamp)} y1={TOP - 6} y2={bottom} />
            <text x={x(tail.timestamp) - 6} y={TOP - 10} textAnchor="end">
              tail #{formatCount(tail.seqNum)}
            </text>
          </g>
        )}
        {marks.map(({ time, seqNum, command }) => (
          <g key={seqNum} className={`position-mark ${command.kind}`}>
            <line x1={x(time)} x2={x(time)} y1={y(seqNum) - 7} y2={y(seqNum) + 7} />
            <circle cx={x(time)} cy={y(seqNum)} r={3.5}>
              <title>{`#${seqNum} ${command.kind === "fence" ? `fence ${command.token}` : `trim before ${command.before}`}`}</title>
            </circle>
          </g>
        ))}
        {cursor !== undefined && (
          <g className="cursor">
            <line x1={x(cursor)} x2={x(cursor)} y1={TOP} y2={bottom} />
            <circle cx={x(cursor)} cy={y(curve.seqNumAt(cursor))} r={4} />
          </g>
        )}
        {drag && Math.abs(drag.to - drag.from) >= DRAG_PX && (
          <rect
            className="chosen"
            x={x(timeAt(Math.min(drag.from, drag.to)))}
            width={Math.abs(drag.to - drag.from)}
            y={TOP}
            height={bottom - TOP}
          />
        )}
      </g>
    </svg>
  );
}

function pathOf(curve: Curve, span: Span, x: (time: number) => number, y: (seqNum: number) => number): string {
  return curve
    .within(span)
    .map(({ time, seqNum }, index) => `${index === 0 ? "M" : "L"}${x(time).toFixed(1)} ${y(seqNum).toFixed(1)}`)
    .join("");
}

function JumpToTime({ onJump, placeholder }: { onJump: (time: number) => void; placeholder: string }) {
  const [text, setText] = useState("");
  const [wrong, setWrong] = useState(false);
  const submit = () => {
    const time = timeIn(text);
    setWrong(time === undefined);
    if (time !== undefined) onJump(time);
  };
  return (
    <form
      className="jump-to-time"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <input
        aria-label="Jump to a time"
        aria-invalid={wrong}
        placeholder={placeholder}
        value={text}
        onChange={({ target }) => {
          setText(target.value);
          setWrong(false);
        }}
      />
      <button className="button small" disabled={!text.trim()}>
        Jump
      </button>
    </form>
  );
}

/** Milliseconds since the epoch, or a date and a time as this page writes them or as ISO 8601 does. */
function timeIn(text: string): number | undefined {
  const trimmed = text.trim();
  if (/^\d{1,15}$/.test(trimmed)) return Number(trimmed);
  const time = Date.parse(trimmed.replace(" ", "T"));
  return Number.isNaN(time) ? undefined : time;
}

const MARKS_LISTED = 60;

function Legend({ isWhole, marks, openRecord }: { isWhole: boolean; marks: readonly Mark[]; openRecord: (seqNum: number) => void }) {
  if (!isWhole) return <p className="notice">Zoom in to see fences and trims: they are marked where every record is read, which is up to {formatCount(READ_WHOLE_RECORDS)} records.</p>;
  if (marks.length === 0) return <p className="notice">No fences or trims in this span.</p>;
  const ordered = [...marks].sort((one, other) => one.seqNum - other.seqNum);
  return (
    <ul className="marks" aria-label="Fences and trims">
      {ordered.slice(0, MARKS_LISTED).map(({ seqNum, command }) => (
        <li key={seqNum}>
          <button onClick={() => openRecord(seqNum)}>
            <span className={`chip ${command.kind === "fence" ? "bronze" : "amber"}`}>{command.kind}</span> #{formatCount(seqNum)}{" "}
            <code>{command.kind === "fence" ? command.token || "(none)" : String(command.before)}</code>
          </button>
        </li>
      ))}
      {ordered.length > MARKS_LISTED && <li className="soft">and {formatCount(ordered.length - MARKS_LISTED)} more</li>}
    </ul>
  );
}

function AsTable({ curve, span }: { curve: Curve; span: Span }) {
  const counts = densities(curve, span, TABLE_ROWS);
  const step = (span.to - span.from) / TABLE_ROWS;
  return (
    <details className="as-table">
      <summary>As a table</summary>
      <table>
        <thead>
          <tr>
            <th>from</th>
            <th>next record</th>
            <th>records</th>
          </tr>
        </thead>
        <tbody>
          {counts.map((count, index) => (
            <tr key={index}>
              <td>{formatTime(Math.round(span.from + index * step))}</td>
              <td>#{formatCount(Math.round(curve.seqNumAt(span.from + index * step)))}</td>
              <td>{formatCount(Math.round(count))}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}

function useSize(element: RefObject<Element | null>): { width: number; height: number } {
  const [size, setSize] = useState({ width: 800, height: 600 });
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => entry && setSize({ width: entry.contentRect.width, height: entry.contentRect.height }));
    observer.observe(element.current!);
    return () => observer.disconnect();
  }, [element]);
  return size;
}
