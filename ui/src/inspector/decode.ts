// What the bytes of a record are.

import type { StreamRecord } from "./api/types";

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const LENIENT = new TextDecoder();

/** A command has exactly one header, whose name is empty. */
export type Command = { kind: "fence"; token: string } | { kind: "trim"; before: bigint };

export function commandOf({ headers, body }: StreamRecord): Command | undefined {
  const [header, ...more] = headers;
  if (!header || more.length > 0 || header.name.length > 0) return undefined;
  const name = textOf(header.value);
  if (name === "fence") return { kind: "fence", token: LENIENT.decode(body) };
  if (name === "trim" && body.length === 8) {
    return { kind: "trim", before: new DataView(body.buffer, body.byteOffset, 8).getBigUint64(0) };
  }
  return undefined;
}

/** The text that `bytes` are in UTF-8, or undefined. */
export function textOf(bytes: Uint8Array): string | undefined {
  try {
    return UTF8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** The object or array that `bytes` are in JSON, or undefined: a bare number or word is as well shown as text. */
export function jsonOf(bytes: Uint8Array): unknown {
  const first = bytes.find((byte) => byte > 0x20);
  if (first !== 0x7b && first !== 0x5b) return undefined;
  const text = textOf(bytes);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A name or a value of a header as one reads it; other bytes than text as hexadecimal digits. */
export function label(bytes: Uint8Array): string {
  return textOf(bytes) ?? `0x${hex(bytes)}`;
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What a record counts for limits and storage. */
export function meteredBytes({ headers, body }: StreamRecord): number {
  return headers.reduce((sum, { name, value }) => sum + 2 + name.length + value.length, 8 + body.length);
}

export function fenceRecord(token: string): Pick<StreamRecord, "headers" | "body"> {
  return commandRecord("fence", new TextEncoder().encode(token));
}

export function trimRecord(before: number): Pick<StreamRecord, "headers" | "body"> {
  const body = new Uint8Array(8);
  new DataView(body.buffer).setBigUint64(0, BigInt(before));
  return commandRecord("trim", body);
}

function commandRecord(name: string, body: Uint8Array): Pick<StreamRecord, "headers" | "body"> {
  return { headers: [{ name: new Uint8Array(0), value: new TextEncoder().encode(name) }], body };
}
