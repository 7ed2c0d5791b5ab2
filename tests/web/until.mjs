import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

/** Wait until `condition()` is true, and say what it was waiting for when it does not come true. */
export async function until(condition, what = String(condition), timeoutMs = 30_000) {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) assert.fail(`waited ${timeoutMs} ms for ${what}`);
    await sleep(5);
  }
}
