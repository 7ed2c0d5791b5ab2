import { type ReactNode, useEffect, useMemo, useState } from "react";
import type { StoreClient } from "../api/client";
import { isAbort } from "../api/errors";
import type { Metric, MetricScope } from "../api/types";
import { formatBytes, formatCount, formatTime } from "../format";
import { Problem } from "../problem";
import { goTo } from "../route";
import { Segments } from "../segments";
import { LIVE_SECONDS, useLiveRates } from "./live-rates";
import { formatValue, Plot } from "./plot";
import { type Columns, columnsOf, queryFor, type RangeName, RANGES, totalOf } from "./series";
import "./as-table.css";
import "./plots.css";

export type PlotScope = MetricScope;

interface PlotSet {
  /** The set's name in the API. */
  set: string;
  title: string;
  isAccumulated: boolean;
}

const SETS: Record<PlotScope["kind"], readonly PlotSet[]> = {
  account: [{ set: "account-ops", title: "Operations", isAccumulated: true }],
  basin: [
    { set: "storage", title: "Storage", isAccumulated: false },
    { set: "append-throughput", title: "Appended", isAccumulated: true },
    { set: "read-throughput", title: "Read", isAccumulated: true },
    { set: "append-ops", title: "Appends", isAccumulated: true },
    { set: "read-ops", title: "Reads", isAccumulated: true },
    { set: "basin-ops", title: "Other operations", isAccumulated: true },
  ],
  stream: [{ set: "storage", title: "Storage", isAccumulated: false }],
};

const REFRESH_MS = 15_000;
const TABLE_ROWS = 200;

/** Rates and storage over time, as the store has counted them. */
export function Plots({ client, scope }: { client: StoreClient; scope: PlotScope }) {
  const [range, setRange] = useState<RangeName>("1h");
  return (
    <section className="plots" aria-label="Rates and storage">
      <div className="toolbar">
        <span className="count">{RANGE_TEXT[range]}</span>
        <Segments
          label="Time shown"
          value={range}
          options={(Object.keys(RANGES) as RangeName[]).map((value) => ({ value, label: RANGES[value].label }))}
          onChange={setRange}
        />
      </div>
      <div className="panels">
        {scope.kind === "stream" && <LiveRates client={client} basin={scope.basin} stream={scope.stream} />}
        {SETS[scope.kind].map((shown) => (
          <Panel key={shown.set} client={client} scope={scope} shown={shown} range={range} />
        ))}
        {scope.kind === "account" && <ActiveBasins client={client} range={range} />}
      </div>
    </section>
  );
}

const RANGE_TEXT: Record<RangeName, string> = {
  "1h": "The last hour, by minute",
  "6h": "The last six hours, by minute",
  "1d": "The last day, by hour",
  "7d": "The last week, by hour",
  "30d": "The last 30 days, by day",
};

interface PanelProps {
  client: StoreClient;
  scope: PlotScope;
  shown: PlotSet;
  range: RangeName;
}

function Panel({ client, scope, shown: { set, title, isAccumulated }, range }: PanelProps) {
  const { answer, error, retry } = useMetrics(client, scope, set, range, isAccumulated);
  if (error !== undefined) return <Problem error={error} retry={retry} />;
  if (!answer || answer.range !== range) return <div className="panel" aria-busy="true" />;
  const columns = columnsOf(answer.metrics, answer.query);
  return <Shown title={title} columns={columns} span={[answer.query.start, answer.query.end]} />;
}

interface ShownProps {
  title: string;
  columns: Columns | undefined;
  span: [number, number];
  /** Instead of the sum, or the last level. */
  figure?: string;
}

function Shown({ title, columns, span, figure }: ShownProps) {
  if (!columns || columns.times.length === 0) {
    return (
      <div className="panel">
        <PanelHead title={title} figure="–" />
        <p className="soft nothing">Nothing was measured in this time.</p>
      </div>
    );
  }
  const { unit, interval, series } = columns;
  const total = series.reduce((sum, one) => sum + totalOf(one), 0);
  const last = series[0]?.values.findLast((value) => value !== null) ?? 0;
  const headline = figure ?? formatValue(interval === undefined ? last : total, unit);
  const most = Math.max(0, ...series.flatMap(({ values }) => values.map((value) => value ?? 0)));
  const per = interval === undefined ? "" : ` per ${interval}`;
  const summary = `${title}: ${headline}${interval === undefined ? " now" : " in all"}, at most ${formatValue(most, unit)}${per}.`;
  return (
    <div className="panel">
      <PanelHead title={title} figure={headline} about={interval === undefined ? undefined : `at most ${formatValue(most, unit)}${per}`} />
      <Plot columns={columns} label={summary} span={span} />
      <AsTable columns={columns} />
    </div>
  );
}

function PanelHead({ title, figure, about }: { title: string; figure: string; about?: ReactNode }) {
  return (
    <header>
      <h2>{title}</h2>
      <p className="figure">{figure}</p>
      {about && <p className="soft">{about}</p>}
    </header>
  );
}

function AsTable({ columns: { times, series, unit } }: { columns: Columns }) {
  const [isOpen, setOpen] = useState(false);
  const rows = times.map((_, index) => index).filter((index) => series.some(({ values }) => values[index]));
  return (
    <details className="as-table" onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>As a table</summary>
      {isOpen && rows.length > 0 && (
        <table>
          <thead>
            <tr>
              <th>from</th>
              {series.map(({ name }) => (
                <th key={name}>{name}</th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows
              .reverse()
              .slice(0, TABLE_ROWS)
              .map((index) => (
                <tr key={times[index]}>
                  <td>{formatTime((times[index] as number) * 1000).slice(0, -4)}</td>
                  {series.map(({ name, values }) => (
                    <td key={name} title={unit === "bytes" ? `${formatCount(values[index] ?? 0)} bytes` : undefined}>
                      {formatValue(values[index] ?? 0, unit)}
                    </td>
                  ))}
                </tr>
              ))}
          </tbody>
        </table>
      )}
      {isOpen && rows.length === 0 && <p className="soft">Zero all the time.</p>}
    </details>
  );
}

function LiveRates({ client, basin, stream }: { client: StoreClient; basin: string; stream: string }) {
  const ref = useMemo(() => ({ basin, stream }), [basin, stream]);
  const rates = useLiveRates(client, ref);
  if (!rates) return <div className="panel" aria-busy="true" />;
  if (rates.error !== undefined) return <Problem error={rates.error} />;
  const { times, records, bytes } = rates;
  const from = times[0] as number;
  const span: [number, number] = [from, from + LIVE_SECONDS];
  const seconds = 10;
  const lately = (values: number[]) => values.slice(-seconds).reduce((sum, value) => sum + value, 0) / seconds;
  const columns = (name: string, values: number[], unit: Columns["unit"]): Columns => ({ times, series: [{ name, values }], unit, interval: "second" });
  return (
    <>
      <Shown title="Records, live" columns={columns("records", records, "operations")} span={span} figure={`${lately(records).toFixed(1)}/s`} />
      <Shown title="Bytes, live" columns={columns("bytes", bytes, "bytes")} span={span} figure={`${formatBytes(lately(bytes))}/s`} />
    </>
  );
}

function ActiveBasins({ client, range }: { client: StoreClient; range: RangeName }) {
  const { answer, error, retry } = useMetrics(client, { kind: "account" }, "active-basins", range, false);
  if (error !== undefined) return <Problem error={error} retry={retry} />;
  const names = (answer?.metrics ?? []).flatMap((metric) => (metric.kind === "label" ? metric.values : []));
  return (
    <div className="panel">
      <PanelHead title="Basins in use" figure={answer ? formatCount(names.length) : ""} />
      <ul className="basins-in-use">
        {names.map((basin) => (
          <li key={basin}>
            <button onClick={() => goTo({ kind: "basin", basin, tab: "plots" })}>
              {basin}
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}

interface Answer {
  metrics: Metric[];
  query: { start: number; end: number };
  range: RangeName;
}

function useMetrics(client: StoreClient, scope: PlotScope, set: string, range: RangeName, isAccumulated: boolean) {
  const [answer, setAnswer] = useState<Answer>();
  const [error, setError] = useState<unknown>();
  const [attempt, setAttempt] = useState(0);
  const key = JSON.stringify(scope);
  useEffect(() => {
    const aborting = new AbortController();
    let timer: number | undefined;
    const load = async () => {
      const query = queryFor(range, Math.ceil(Date.now() / 1000), isAccumulated);
      try {
        const metrics = await client.metrics(JSON.parse(key) as PlotScope, set, query, aborting.signal);
        setAnswer({ metrics, query, range });
        setError(undefined);
        timer = window.setTimeout(load, REFRESH_MS);
      } catch (reason) {
        if (!isAbort(reason)) setError(reason);
      }
    };
    void load();
    return () => {
      aborting.abort();
      clearTimeout(timer);
    };
  }, [client, key, set, range, isAccumulated, attempt]);
  return { answer, error, retry: () => setAttempt((count) => count + 1) };
}
