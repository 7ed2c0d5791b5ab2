// What the fencing token in force tells of a generation; see `perdure.resumable.tokens`, which this follows.

export type FenceKind = "holder" | "end" | "stop" | "error";

const LONGEST_LEASE_MS = 86_400_000;
const OFFERED = /^session-[A-Za-z0-9+/]{11}=\.([1-9][0-9]{0,14})$/;

/** What a fence with this token says; whatever is no terminal token is a holder's. */
export function fenceKind(token: string): FenceKind {
  if (token.startsWith("end-")) return token.startsWith("end-stop-") ? "stop" : "end";
  return token.startsWith("error-") ? "error" : "holder";
}

/** The lease in milliseconds that a holder's token offers; undefined if it offers none. */
export function offeredLeaseMs(token: string): number | undefined {
  const leaseMs = Number(OFFERED.exec(token)?.[1]);
  return leaseMs <= LONGEST_LEASE_MS ? leaseMs : undefined;
}

/** Whether a token is one that writers of generations make; others may fence a stream for reasons of their own. */
export function isOfChat(token: string): boolean {
  return token.startsWith("session-") || fenceKind(token) !== "holder";
}
