/** Resolves after `ms` (never, when undefined), when aborted, or when the function given to `onWakeable` is called. */
export function pause(
  ms: number | undefined,
  signal?: AbortSignal | undefined,
  onWakeable?: (wake: () => void) => void,
): Promise<void>;

/** A controller that is aborted with `outer`, or alone. */
export function linkedController(outer?: AbortSignal | undefined): AbortController;

/** What a request may be ended by: `closing`, or `silenceMs` without a byte (default 45,000; null: no limit). */
export class Connection {
  constructor(closing?: AbortSignal | undefined, silenceMs?: number | null | undefined);
  readonly signal: AbortSignal;
  /** From now on it is given up after `silenceMs` without a byte; null: never. */
  limitSilence(silenceMs?: number | null | undefined): void;
  /** A byte came: the silence begins anew. */
  isAlive(): void;
  close(): void;
}
