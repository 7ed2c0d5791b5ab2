// JSON of the API to values of this page, and back. Bodies and headers travel as base64, so they are exact.

import type {
  AppendAck,
  AppendInput,
  BasinInfo,
  Header,
  Metric,
  MetricInterval,
  MetricUnit,
  Position,
  ReadBatch,
  ReadQuery,
  StreamInfo,
  StreamRecord,
} from "./types";

const NO_BYTES = new Uint8Array(0);

export interface PositionJson {
  seq_num: number;
  timestamp: number;
}

export interface BatchJson {
  records: { seq_num: number; timestamp: number; headers?: [string, string][]; body?: string }[];
  tail?: PositionJson;
}

export interface BasinJson {
  name: string;
  location: string | null;
  created_at: string;
  deleted_at: string | null;
}

export interface StreamJson {
  name: string;
  created_at: string;
  deleted_at: string | null;
  cipher: StreamInfo["cipher"];
}

export interface AckJson {
  start: PositionJson;
  end: PositionJson;
  tail: PositionJson;
}

interface SeriesJson {
  name: string;
  unit: MetricUnit;
  interval: MetricInterval;
  value: number;
  values: [number, number][];
}

export type MetricJson =
  | { scalar: SeriesJson }
  | { accumulation: SeriesJson }
  | { gauge: SeriesJson }
  | { label: { name: string; values: string[] } };

export function position({ seq_num: seqNum, timestamp }: PositionJson): Position {
  return { seqNum, timestamp };
}

export function batch({ records, tail }: BatchJson): ReadBatch {
  const read = records.map(record);
  return tail ? { records: read, tail: position(tail) } : { records: read };
}

function record({ seq_num: seqNum, timestamp, headers, body }: BatchJson["records"][number]): StreamRecord {
  return { seqNum, timestamp, headers: headers?.map(header) ?? [], body: body ? fromBase64(body) : NO_BYTES };
}

function header([name, value]: [string, string]): Header {
  return { name: fromBase64(name), value: fromBase64(value) };
}

export function basinInfo({ name, location, created_at, deleted_at }: BasinJson): BasinInfo {
  return { name, location, createdAt: created_at, deletedAt: deleted_at };
}

export function streamInfo({ name, created_at, deleted_at, cipher }: StreamJson): StreamInfo {
  return { name, createdAt: created_at, deletedAt: deleted_at, cipher };
}

export function ack({ start, end, tail }: AckJson): AppendAck {
  return { start: position(start), end: position(end), tail: position(tail) };
}

export function metric(body: MetricJson): Metric {
  if ("scalar" in body) return { kind: "scalar", ...body.scalar };
  if ("accumulation" in body) return { kind: "accumulation", ...body.accumulation };
  if ("gauge" in body) return { kind: "gauge", ...body.gauge };
  return { kind: "label", ...body.label };
}

export function appendBody({ records, matchSeqNum, fencingToken }: AppendInput): string {
  return JSON.stringify({
    records: records.map(({ headers, body, timestamp }) => ({
      headers: headers.map(({ name, value }) => [toBase64(name), toBase64(value)]),
      body: toBase64(body),
      timestamp,
    })),
    match_seq_num: matchSeqNum,
    fencing_token: fencingToken,
  });
}

export function readParameters(query: ReadQuery): URLSearchParams {
  return parameters({
    seq_num: query.seqNum,
    timestamp: query.timestamp,
    tail_offset: query.tailOffset,
    clamp: query.clamp,
    count: query.count,
    bytes: query.bytes,
    until: query.until,
    wait: query.waitSecs,
  });
}

export function parameters(values: Record<string, string | number | boolean | undefined>): URLSearchParams {
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  return new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
}

export function fromBase64(text: string): Uint8Array {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  return bytes;
}

export function toBase64(bytes: Uint8Array): string {
  const pieces: string[] = [];
  for (let start = 0; start < bytes.length; start += 8192) {
    pieces.push(String.fromCharCode(...bytes.subarray(start, start + 8192)));
  }
  return btoa(pieces.join(""));
}
