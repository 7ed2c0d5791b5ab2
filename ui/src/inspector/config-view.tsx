import { type ReactNode, useEffect, useState } from "react";
import { isAbort } from "./api/errors";
import type { BasinConfig, StreamConfig } from "./api/types";
import { formatCount } from "./format";
import { Problem } from "./problem";

interface Line {
  name: string;
  value: ReactNode;
}

interface Section {
  title?: string;
  lines: Line[];
}

interface ConfigViewProps<T> {
  load: (signal: AbortSignal) => Promise<T>;
  sectionsOf: (config: T) => Section[];
}

/** Settings in words. */
export function ConfigView<T>({ load, sectionsOf }: ConfigViewProps<T>) {
  const [config, setConfig] = useState<T>();
  const [error, setError] = useState<unknown>();
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const leaving = new AbortController();
    setError(undefined);
    load(leaving.signal).then(setConfig, (failure) => isAbort(failure) || setError(failure));
    return () => leaving.abort();
  }, [load, turn]);
  if (error !== undefined) return <Problem error={error} retry={() => setTurn(turn + 1)} />;
  if (config === undefined) return <p className="empty">Loading …</p>;
  return (
    <div className="config">
      {sectionsOf(config).map(({ title, lines }, index) => (
        <section key={index}>
          {title && <h2>{title}</h2>}
          <dl>
            {lines.map(({ name, value }) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
        </section>
      ))}
    </div>
  );
}

export function streamSections(config: StreamConfig): Section[] {
  return [{ lines: streamLines(config) }];
}

export function basinSections(config: BasinConfig): Section[] {
  const own: Line[] = [
    { name: "A stream is created", value: created(config) },
    { name: "Encryption of new streams", value: config.stream_cipher ?? "none" },
  ];
  return [{ lines: own }, { title: "What new streams get", lines: streamLines(config.default_stream_config ?? {}) }];
}

function streamLines(config: StreamConfig): Line[] {
  const { retention_policy: retention, timestamping, delete_on_empty: deletion, storage_class } = config;
  const lines: Line[] = [
    { name: "Records are kept", value: retention ? retained(retention) : unset },
    { name: "Timestamps", value: timestamping?.mode ? MODES[timestamping.mode] : unset },
    {
      name: "Timestamps ahead of the clock",
      value: timestamping?.uncapped == null ? unset : timestamping.uncapped ? "kept as they are" : "lowered to the time of arrival",
    },
    {
      name: "Deleted when empty",
      value: deletion?.min_age_secs == null ? unset : deletion.min_age_secs === 0 ? "never" : `after ${seconds(deletion.min_age_secs)}`,
    },
    { name: "Storage class", value: storage_class ?? unset },
  ];
  return lines;
}

const unset = <span className="soft">not set: the store’s own default</span>;

const MODES = {
  "client-prefer": "the writer’s, or the time of arrival",
  "client-require": "the writer’s, who has to give one",
  arrival: "the time of arrival",
};

function retained(policy: NonNullable<StreamConfig["retention_policy"]>): string {
  return "age" in policy ? `for ${seconds(policy.age)}` : "until they are trimmed";
}

function created({ create_stream_on_append: onAppend, create_stream_on_read: onRead }: BasinConfig): string {
  if (onAppend && onRead) return "on request, by the first append and by the first read";
  if (onAppend) return "on request, and by the first append";
  return onRead ? "on request, and by the first read" : "on request only";
}

function seconds(value: number): string {
  for (const [size, unit] of [[86_400, "day"], [3_600, "hour"], [60, "minute"]] as const) {
    if (value >= size && value % size === 0) return `${formatCount(value / size)} ${unit}${value === size ? "" : "s"}`;
  }
  return `${formatCount(value)} second${value === 1 ? "" : "s"}`;
}
