// The store's API, as this page asks it: of its own origin, with the token of whoever sits before it.

import { readFrames } from "../../../../src/perdure/web/sse.js";
import {
  ack,
  type AckJson,
  appendBody,
  basinInfo,
  type BasinJson,
  batch,
  type BatchJson,
  metric,
  type MetricJson,
  parameters,
  position,
  type PositionJson,
  readParameters,
  streamInfo,
  type StreamJson,
} from "./coding";
import { ApiError, isAbort, refusal } from "./errors";
import type {
  AppendAck,
  AppendInput,
  BasinConfig,
  BasinInfo,
  ListQuery,
  Metric,
  MetricQuery,
  MetricScope,
  Page,
  Position,
  ReadBatch,
  ReadQuery,
  StreamConfig,
  StreamInfo,
  StreamRef,
} from "./types";

interface Request {
  basin?: string;
  encryptionKey?: string | undefined;
  query?: URLSearchParams;
  method?: string;
  body?: string;
  accept?: string;
  signal?: AbortSignal | undefined;
}

/** Every method rejects with `ApiError` when it is refused or unanswered, and with the signal's reason when aborted. */
export class StoreClient {
  readonly #token: string | undefined;
  readonly #onUnauthorized: () => void;

  /** `onUnauthorized` is told when an answer was 401. */
  constructor(token: string | undefined, onUnauthorized: () => void) {
    this.#token = token;
    this.#onUnauthorized = onUnauthorized;
  }

  async listBasins(query: ListQuery, signal?: AbortSignal): Promise<Page<BasinInfo>> {
    const found = await this.#json<{ basins: BasinJson[]; has_more: boolean }>("/basins", { query: listed(query), signal });
    return { items: found.basins.map(basinInfo), hasMore: found.has_more };
  }

  createBasin(basin: string, config: BasinConfig): Promise<unknown> {
    return this.#json("/basins", { method: "POST", body: JSON.stringify({ basin, config }) });
  }

  getBasinConfig(basin: string, signal?: AbortSignal): Promise<BasinConfig> {
    return this.#json(`/basins/${encodeURIComponent(basin)}`, { signal });
  }

  async deleteBasin(basin: string): Promise<void> {
    await this.#send(`/basins/${encodeURIComponent(basin)}`, { method: "DELETE" });
  }

  async listStreams(basin: string, query: ListQuery, signal?: AbortSignal): Promise<Page<StreamInfo>> {
    type Found = { streams: StreamJson[]; has_more: boolean };
    const found = await this.#json<Found>("/streams", { basin, query: listed(query), signal });
    return { items: found.streams.map(streamInfo), hasMore: found.has_more };
  }

  createStream(basin: string, stream: string, config: StreamConfig): Promise<unknown> {
    return this.#json("/streams", { basin, method: "POST", body: JSON.stringify({ stream, config }) });
  }

  getStreamConfig({ basin, stream }: StreamRef, signal?: AbortSignal): Promise<StreamConfig> {
    return this.#json(streamPath(stream), { basin, signal });
  }

  async deleteStream({ basin, stream }: StreamRef): Promise<void> {
    await this.#send(streamPath(stream), { basin, method: "DELETE" });
  }

  async checkTail({ basin, stream }: StreamRef, signal?: AbortSignal): Promise<Position> {
    const found = await this.#json<{ tail: PositionJson }>(`${streamPath(stream)}/records/tail`, { basin, signal });
    return position(found.tail);
  }

  /** At most 1,000 records and 1 MiB. A start at the tail or behind it is an error that has the tail (status 416). */
  async read({ basin, stream, encryptionKey }: StreamRef, query: ReadQuery, signal?: AbortSignal): Promise<ReadBatch> {
    const path = `${streamPath(stream)}/records`;
    return batch(await this.#json<BatchJson>(path, { basin, encryptionKey, query: readParameters(query), signal }));
  }

  /**
   * A read session: what is stored, and then what comes, with the tail once that is reached. It ends when the server
   * ends it and does not reconnect (`followForever` does). Leaving the loop closes it.
   */
  async *follow(stream: StreamRef, query: ReadQuery, signal?: AbortSignal): AsyncGenerator<ReadBatch, void, undefined> {
    const { basin, encryptionKey } = stream;
    const accept = "text/event-stream";
    const path = `${streamPath(stream.stream)}/records`;
    const response = await this.#send(path, { basin, encryptionKey, query: readParameters(query), accept, signal });
    try {
      for await (const { event, data } of readFrames(response.body!, { signal })) {
        if (event === "batch") yield batch(JSON.parse(data) as BatchJson);
        else if (event === "ping") yield { records: [], tail: position((JSON.parse(data) as { tail: PositionJson }).tail) };
        else if (event === "error") throw refusal(statusWithin(data), data);
        else if (data === "[DONE]") return;
      }
    } catch (error) {
      throw error instanceof TypeError ? unanswered() : error; // the connection was lost
    }
  }

  async append({ basin, stream, encryptionKey }: StreamRef, input: AppendInput): Promise<AppendAck> {
    const path = `${streamPath(stream)}/records`;
    return ack(await this.#json<AckJson>(path, { basin, encryptionKey, method: "POST", body: appendBody(input) }));
  }

  async metrics(scope: MetricScope, set: string, query: MetricQuery, signal?: AbortSignal): Promise<Metric[]> {
    const names = scope.kind === "account" ? [] : scope.kind === "basin" ? [scope.basin] : [scope.basin, scope.stream];
    const path = ["/metrics", ...names.map(encodeURIComponent)].join("/");
    const { start, end, interval } = query;
    const asked = { query: parameters({ set, start, end, interval }), signal };
    return (await this.#json<{ values: MetricJson[] }>(path, asked)).values.map(metric);
  }

  async #json<T>(path: string, request: Request): Promise<T> {
    return (await (await this.#send(path, request)).json()) as T;
  }

  async #send(path: string, request: Request): Promise<Response> {
    const { basin, encryptionKey, query, method = "GET", body, accept, signal } = request;
    const headers = new Headers({ "s2-format": "base64" });
    if (this.#token !== undefined) headers.set("authorization", `Bearer ${this.#token}`);
    if (basin !== undefined) headers.set("s2-basin", basin);
    if (encryptionKey !== undefined) headers.set("s2-encryption-key", encryptionKey);
    if (accept !== undefined) headers.set("accept", accept);
    if (body !== undefined) headers.set("content-type", "application/json");
    const url = `/v1${path}${query?.size ? `?${query}` : ""}`;
    const init: RequestInit = { method, headers, cache: "no-store", credentials: "omit", redirect: "error" };
    if (body !== undefined) init.body = body;
    if (signal !== undefined) init.signal = signal;
    const response = await fetch(url, init).catch((error: unknown) => {
      throw isAbort(error) ? error : unanswered();
    });
    if (response.ok) return response;
    const failure = refusal(response.status, await response.text());
    if (failure.wantsToken) this.#onUnauthorized();
    throw failure;
  }
}

function streamPath(stream: string): string {
  return `/streams/${encodeURIComponent(stream)}`;
}

function listed({ prefix, startAfter, limit }: ListQuery): URLSearchParams {
  return parameters({ prefix: prefix || undefined, start_after: startAfter || undefined, limit });
}

function unanswered(): ApiError {
  return new ApiError(0, "unanswered", "The server does not answer.");
}

/** An `error` event has the body of an answer, but not its status. */
function statusWithin(data: string): number {
  return /"code":\s*"(decryption_failed|bad_[a-z]+)"/.test(data) ? 400 : /"code":\s*"authn"/.test(data) ? 401 : 503;
}
