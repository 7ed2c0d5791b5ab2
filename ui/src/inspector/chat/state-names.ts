// How states of a generation are called and coloured.

import type { State } from "./generation";

/** `tone` is a class of the chip and of the rail. */
export const STATES: Record<State, { name: string; tone: "live" | "done" | "amber" | "rust" | "none"; meaning: string }> = {
  running: { name: "running", tone: "live", meaning: "Its writer holds the stream." },
  silent: { name: "lease expired", tone: "rust", meaning: "Nothing was heard of its writer for a whole lease: the next claim or reader ends it." },
  over: { name: "over", tone: "done", meaning: "It ended by itself." },
  stopped: { name: "stopped", tone: "amber", meaning: "Somebody stopped it; what was said stays." },
  failed: { name: "failed", tone: "rust", meaning: "Its source failed." },
  abandoned: { name: "abandoned", tone: "rust", meaning: "Its writer was silent for its whole lease, so somebody else ended it." },
  "taken over": { name: "taken over", tone: "amber", meaning: "Another writer claimed the stream while it ran." },
  unclaimed: { name: "no claim", tone: "none", meaning: "These records belong to no generation, or its beginning is gone." },
};
