// What the store's API speaks of, in the shapes that this page works with (see openapi.json of the server).

/** A place in a stream; the timestamp is in milliseconds since the epoch unless the writer chose another clock. */
export interface Position {
  seqNum: number;
  timestamp: number;
}

export interface Header {
  name: Uint8Array;
  value: Uint8Array;
}

export interface StreamRecord {
  seqNum: number;
  timestamp: number;
  headers: readonly Header[];
  body: Uint8Array;
}

export interface ReadBatch {
  records: StreamRecord[];
  /** Present while following; a batch without records is a heartbeat. */
  tail?: Position;
}

export interface StreamRef {
  basin: string;
  stream: string;
  /** Base64 of 32 bytes, for a stream that is encrypted. */
  encryptionKey?: string;
}

export interface ReadQuery {
  seqNum?: number;
  timestamp?: number;
  tailOffset?: number;
  /** A start beyond the tail becomes the tail. */
  clamp?: boolean;
  count?: number;
  bytes?: number;
  until?: number;
  waitSecs?: number;
}

export interface ListQuery {
  prefix?: string;
  startAfter?: string;
  limit?: number;
}

export interface Page<T> {
  items: T[];
  hasMore: boolean;
}

export interface BasinInfo {
  name: string;
  location: string | null;
  createdAt: string;
  /** Set while the basin is being deleted. */
  deletedAt: string | null;
}

export type Cipher = "aegis-256" | "aes-256-gcm";

export interface StreamInfo {
  name: string;
  createdAt: string;
  deletedAt: string | null;
  cipher: Cipher | null;
}

/** As it stands in JSON: absent fields are left to the layer below. */
export interface StreamConfig {
  storage_class?: "standard" | "express" | null;
  retention_policy?: { age: number } | { infinite: Record<string, never> } | null;
  timestamping?: { mode?: "client-prefer" | "client-require" | "arrival" | null; uncapped?: boolean | null } | null;
  delete_on_empty?: { min_age_secs?: number } | null;
}

export interface BasinConfig {
  default_stream_config?: StreamConfig | null;
  stream_cipher?: Cipher | null;
  create_stream_on_append?: boolean;
  create_stream_on_read?: boolean;
}

export interface AppendRecord {
  headers: readonly Header[];
  body: Uint8Array;
  timestamp?: number;
}

export interface AppendInput {
  records: readonly AppendRecord[];
  matchSeqNum?: number;
  fencingToken?: string;
}

export interface AppendAck {
  start: Position;
  end: Position;
  tail: Position;
}

export type MetricUnit = "bytes" | "operations";
export type MetricInterval = "minute" | "hour" | "day";

/** One series of an answer to `/v1/metrics…`; times are in seconds since the epoch. */
export type Metric =
  | { kind: "scalar"; name: string; unit: MetricUnit; value: number }
  | {
      kind: "accumulation";
      name: string;
      unit: MetricUnit;
      interval: MetricInterval;
      values: [seconds: number, value: number][];
    }
  | { kind: "gauge"; name: string; unit: MetricUnit; values: [seconds: number, value: number][] }
  | { kind: "label"; name: string; values: string[] };

export type MetricScope =
  | { kind: "account" }
  | { kind: "basin"; basin: string }
  | { kind: "stream"; basin: string; stream: string };

export interface MetricQuery {
  start?: number;
  end?: number;
  interval?: MetricInterval;
}
