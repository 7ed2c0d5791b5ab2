// Metrics of the API as columns over time, which is what plots and tables show.

import type { Metric, MetricInterval, MetricQuery, MetricUnit } from "../api/types";

export interface Series {
  name: string;
  /** One value for each time; null where nothing was measured. */
  values: (number | null)[];
}

export interface Columns {
  /** In seconds since the epoch. */
  times: number[];
  series: Series[];
  unit: MetricUnit;
  /** What one value stands for; undefined for what is measured at a moment. */
  interval: MetricInterval | "second" | undefined;
}

export type RangeName = "1h" | "6h" | "1d" | "7d" | "30d";

export const RANGES: Record<RangeName, { label: string; seconds: number; interval: MetricInterval }> = {
  "1h": { label: "1 h", seconds: 3_600, interval: "minute" },
  "6h": { label: "6 h", seconds: 21_600, interval: "minute" },
  "1d": { label: "1 d", seconds: 86_400, interval: "hour" },
  "7d": { label: "7 d", seconds: 604_800, interval: "hour" },
  "30d": { label: "30 d", seconds: 2_592_000, interval: "day" },
};

export const INTERVAL_SECONDS: Record<MetricInterval, number> = { minute: 60, hour: 3_600, day: 86_400 };

/** The busiest series have a line each, the others one together. */
const MOST_SERIES = 5;

export function queryFor(name: RangeName, nowSeconds: number, isAccumulated: boolean): Required<Pick<MetricQuery, "start" | "end">> & MetricQuery {
  const { seconds, interval } = RANGES[name];
  const query = { start: nowSeconds - seconds, end: nowSeconds };
  return isAccumulated ? { ...query, interval } : query;
}

/** What the metrics of one set say between two times, or undefined if they have no values. */
export function columnsOf(metrics: readonly Metric[], { start = 0, end = 0 }: MetricQuery): Columns | undefined {
  const measured = metrics.filter((metric) => metric.kind === "accumulation" || metric.kind === "gauge");
  const [first] = measured;
  if (!first) return undefined;
  if (first.kind === "gauge") {
    return { times: first.values.map(([time]) => time), series: [{ name: first.name, values: first.values.map(([, value]) => value) }], unit: first.unit, interval: undefined };
  }
  const step = INTERVAL_SECONDS[first.interval];
  const times: number[] = [];
  // Intervals in which nothing happened are left out of answers.
  for (let time = Math.floor(start / step) * step; time < end; time += step) times.push(time);
  const indexOf = new Map(times.map((time, index) => [time, index]));
  const series = measured.map(({ name, values }) => {
    const filled = times.map(() => 0);
    for (const [time, value] of values) {
      const index = indexOf.get(time);
      if (index !== undefined) filled[index] = value;
    }
    return { name, values: filled };
  });
  return { times, series: busiest(series), unit: first.unit, interval: first.interval };
}

export function totalOf({ values }: Series): number {
  return values.reduce<number>((sum, value) => sum + (value ?? 0), 0);
}

function busiest(series: { name: string; values: number[] }[]): Series[] {
  const ordered = [...series].sort((one, other) => totalOf(other) - totalOf(one));
  if (ordered.length <= MOST_SERIES) return ordered;
  const others = ordered.slice(MOST_SERIES - 1);
  const together = (others[0]?.values ?? []).map((_, index) => others.reduce((sum, { values }) => sum + (values[index] ?? 0), 0));
  return [...ordered.slice(0, MOST_SERIES - 1), { name: `${others.length} others`, values: together }];
}
