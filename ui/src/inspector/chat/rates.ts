// How fast a generation came.

import type { Generation } from "./generation";

export interface Pace {
  /** From the claim to the last record. */
  durationMs: number;
  /** From the claim to the first record with data. */
  firstAfterMs: number | undefined;
  /** Such as `61 tokens/s`, counted by the model, or else `240 characters/s`. */
  speed: string | undefined;
}

/** A shorter time is none to measure a speed over. */
const SHORTEST_MS = 100;

export function paceOf(generation: Generation): Pace {
  const { first, last, firstData, lastData, claim } = generation;
  const sayingMs = firstData && lastData ? lastData.timestamp - firstData.timestamp : 0;
  return {
    durationMs: last.timestamp - first.timestamp,
    firstAfterMs: claim && firstData ? Math.max(0, firstData.timestamp - claim.timestamp) : undefined,
    speed: sayingMs >= SHORTEST_MS ? speedOf(generation, sayingMs / 1000) : undefined,
  };
}

function speedOf(generation: Generation, seconds: number): string | undefined {
  const { outputTokens } = generation.usage;
  if (outputTokens !== undefined && generation.ending) return `${rounded(outputTokens / seconds)} tokens/s`;
  const characters = charactersOf(generation);
  return characters > 0 ? `${rounded(characters / seconds)} characters/s` : undefined;
}

/** What the assistant has said and thought, and asked of tools. */
export function charactersOf({ messages }: Generation): number {
  let count = 0;
  for (const { role, parts } of messages) {
    if (role !== "assistant") continue;
    for (const part of parts) {
      if (part.kind === "text" || part.kind === "reasoning") count += part.text.length;
      else if (part.kind === "tool") count += part.inputText.length;
    }
  }
  return count;
}

function rounded(value: number): string {
  return value >= 100 ? String(Math.round(value)) : value.toFixed(value >= 10 ? 0 : 1);
}
