// What the API refuses, and what never reached it.

import type { Position } from "./types";

/** `status` 0: there was no answer. `code` is the API's own, such as `permission_denied`. */
export class ApiError extends Error {
  override name = "ApiError";

  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    /** Where the stream ends, if the read began behind it. */
    readonly tail?: Position,
  ) {
    super(message);
  }

  get wantsToken(): boolean {
    return this.status === 401;
  }

  get isForbidden(): boolean {
    return this.status === 403;
  }

  /** The stream is encrypted and the key is missing, or is not its key. */
  get wantsKey(): boolean {
    return this.code === "decryption_failed" || (this.code === "bad_header" && /encryption key/.test(this.message));
  }
}

/** What a failed answer says (an `error` event of a session has the same body). */
export function refusal(status: number, body: string): ApiError {
  const said = objectIn(body);
  if ("seq_num_mismatch" in said) {
    const next = said.seq_num_mismatch;
    return new ApiError(status, "seq_num_mismatch", `The next record gets sequence number ${next}, not the one expected.`);
  }
  if ("fencing_token_mismatch" in said) {
    const token = said.fencing_token_mismatch;
    const holds = token === "" ? "The stream is not fenced" : `The stream is fenced by “${token}”`;
    return new ApiError(status, "fencing_token_mismatch", `${holds}: the fencing token does not match.`);
  }
  if (isPosition(said.tail)) {
    const tail = { seqNum: said.tail.seq_num, timestamp: said.tail.timestamp };
    return new ApiError(status, "read_unwritten", `Nothing is written there yet: the tail is ${tail.seqNum}.`, tail);
  }
  const code = typeof said.code === "string" ? said.code : "";
  const message = typeof said.message === "string" ? said.message : body.trim();
  return new ApiError(status, code, message || `The server answered ${status}.`);
}

/** Whether a promise ended because nobody wants it any more. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

function objectIn(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {}; // a proxy's own page, perhaps
  }
}

function isPosition(value: unknown): value is { seq_num: number; timestamp: number } {
  return typeof value === "object" && value !== null && "seq_num" in value && "timestamp" in value;
}
