import { APICallError } from "ai";

const CONFLICT = 409;

interface Circumstances {
  offline: boolean;
  /** Whether the last message is an answer, whole or in part. */
  answered: boolean;
}

/** Whether another tab was faster. */
export function isConflict(error: Error): boolean {
  return APICallError.isInstance(error) && error.statusCode === CONFLICT;
}

/** What to tell about a failed request; null when there is nothing left to tell. */
export function describeFailure(error: Error, { offline, answered }: Circumstances): string | null {
  if (isConflict(error)) return null; // the tab is about to join the other turn, with the question back in the box
  if (!(error instanceof TypeError)) return error.message || "Something went wrong.";
  // The connection broke. The banner tells it while the server is away; afterwards an answer is fetched by itself, and
  // only a question may be left that never arrived.
  return offline || answered ? null : "The connection was lost before an answer came.";
}
