import { useEffect, useRef, useState } from "react";
import uPlot from "uplot";
import { formatBytes, formatCount, formatTime } from "../format";
import type { Columns } from "./series";
import "uplot/dist/uPlot.min.css";

const HEIGHT = 168;
const COLOURS = ["--bronze", "--amber", "--rust", "--ink-soft", "--rule-strong"];
/** Steps of an axis of bytes, which are written in units of 1,024. */
const ROUND_BYTES = Array.from({ length: 50 }, (_, power) => 2 ** power);
/** All plots of a page show the same time under the pointer. */
const SYNC = "metrics";

interface PlotProps {
  columns: Columns;
  label: string;
  /** The time that is shown, in seconds, whatever was measured in it. */
  span: [from: number, to: number];
}

export function Plot({ columns, label, span: [from, to] }: PlotProps) {
  const frame = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const [index, setIndex] = useState<number | null>(null);
  const scheme = useColourScheme();
  const { unit, series, times } = columns;
  const shape = `${unit} ${columns.interval} ${series.map(({ name }) => name).join(" ")}`;
  const latest = useRef({ columns, from, to });
  latest.current = { columns, from, to };

  useEffect(() => {
    const element = frame.current!;
    const made = new uPlot(
      optionsFor(element, latest.current.columns, () => [latest.current.from, latest.current.to], setIndex),
      dataOf(latest.current.columns),
      element,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
    };
  }, [shape, scheme]);

  useEffect(() => plot.current?.setData(dataOf(columns)), [columns, from, to]);

  const at = index === null ? undefined : times[index];
  return (
    <>
      <p className="plot-legend" aria-hidden="true">
        {series.map(({ name, values }, number) => (
          <span key={name}>
            {series.length > 1 && <i style={{ background: `var(${COLOURS[number % COLOURS.length]})` }} />}
            {series.length > 1 && name} {at !== undefined && <b>{formatValue(values[index as number] ?? 0, unit)}</b>}
          </span>
        ))}
        {at !== undefined && <time>{formatTime(at * 1000).slice(0, -4)}</time>}
      </p>
      <div ref={frame} className="plot" role="img" aria-label={label} />
    </>
  );
}

export function formatValue(value: number, unit: Columns["unit"]): string {
  return unit === "bytes" ? formatBytes(value) : formatCount(value);
}

function dataOf({ times, series }: Columns): uPlot.AlignedData {
  return [times, ...series.map(({ values }) => values)];
}

function optionsFor(
  element: HTMLElement,
  { unit, series, interval }: Columns,
  span: () => [number, number],
  onIndex: (index: number | null) => void,
): uPlot.Options {
  const colour = (name: string) => resolved(element, name);
  const grid = { stroke: colour("--rule"), width: 1 };
  const axis = { stroke: colour("--ink-soft"), font: `11px ${getComputedStyle(element).fontFamily}`, grid, ticks: { show: false } };
  const bars = uPlot.paths.bars!({ size: [0.8, 24], align: 1 });
  const stepped = uPlot.paths.stepped!({ align: 1 });
  return {
    width: element.clientWidth,
    height: HEIGHT,
    padding: [10, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, sync: { key: SYNC, setSeries: false } },
    scales: { x: { time: true, range: () => span() }, y: { range: (_, __, most) => [0, Math.max(1, most * 1.08)] } },
    axes: [
      { ...axis, size: 28, space: 70, values: timeLabels },
      { ...axis, size: 68, space: 34, ...(unit === "bytes" && { incrs: ROUND_BYTES }), values: (_, splits) => splits.map((value) => (Number.isInteger(value) || unit === "bytes" ? formatValue(value, unit) : "")) },
    ],
    series: [
      {},
      ...series.map(({ name }, index) => {
        const stroke = colour(COLOURS[index % COLOURS.length] as string);
        const fill = faded(stroke);
        if (interval === undefined) return { label: name, stroke, fill, width: 1.75, points: { show: false }, paths: stepped };
        if (series.length === 1) return { label: name, stroke, fill: stroke, width: 0, points: { show: false }, paths: bars };
        return { label: name, stroke, width: 1.75, points: { show: false }, paths: stepped };
      }),
    ],
    hooks: { setCursor: [({ cursor }) => onIndex(cursor.idx ?? null)] },
  };
}

/** Times of a day where no day ends, else dates: uPlot's own labels are those of one country. */
function timeLabels(_: uPlot, splits: number[], __: number, ___: number, increment: number): string[] {
  return splits.map((seconds) => {
    const whole = formatTime(seconds * 1000);
    if (increment >= 86_400 || whole.slice(11, 19) === "00:00:00") return whole.slice(5, 10);
    return increment < 60 ? whole.slice(11, 19) : whole.slice(11, 16);
  });
}

/** A colour of the page as a canvas takes it: `light-dark()` is for style sheets only. */
function resolved(element: HTMLElement, name: string): string {
  const before = element.style.color;
  element.style.color = `var(${name})`;
  const { color } = getComputedStyle(element);
  element.style.color = before;
  return color;
}

function faded(colour: string): string {
  return colour.replace(/^rgb\((.*)\)$/, "rgba($1, 0.14)");
}

function useColourScheme(): boolean {
  const [isDark, setDark] = useState(() => matchMedia("(prefers-color-scheme: dark)").matches);
  useEffect(() => {
    const query = matchMedia("(prefers-color-scheme: dark)");
    const listen = () => setDark(query.matches);
    query.addEventListener("change", listen);
    return () => query.removeEventListener("change", listen);
  }, []);
  return isDark;
}
