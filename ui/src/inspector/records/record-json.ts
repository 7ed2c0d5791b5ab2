// A record as JSON that the command line and the API take as well: text where it is text, base64 where it is not.

import { toBase64 } from "../api/coding";
import type { StreamRecord } from "../api/types";
import { textOf } from "../decode";

export function recordJson({ seqNum, timestamp, headers, body }: StreamRecord): string {
  const all = [body, ...headers.flatMap(({ name, value }) => [name, value])];
  const isText = all.every((bytes) => textOf(bytes) !== undefined);
  const coded = (bytes: Uint8Array) => (isText ? textOf(bytes)! : toBase64(bytes));
  const json = {
    seq_num: seqNum,
    timestamp,
    ...(isText ? {} : { format: "base64" }),
    headers: headers.map(({ name, value }) => [coded(name), coded(value)]),
    body: coded(body),
  };
  return JSON.stringify(json, null, 2);
}
