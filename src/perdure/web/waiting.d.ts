/** Resolves after `ms` (never, when undefined), when aborted, or when the function given to `onWakeable` is called. */
export function pause(
  ms: number | undefined,
  signal?: AbortSignal | undefined,
  onWakeable?: (wake: () => void) => void,
): Promise<void>;

/** A pause before a retry, which is due at once when the browser says that it has a network again. */
export function pauseBeforeRetry(ms: number, signal?: AbortSignal | undefined): Promise<void>;

/** A controller that is aborted with `outer`, or alone. */
export function linkedController(outer?: AbortSignal | undefined): AbortController;

/**
 * What a request may be ended by: `closing`, `silenceMs` without a byte (default 45,000; null: no limit), or, with
 * `whileVisible`, a page that stays hidden.
 */
export class Connection {
  constructor(
    closing?: AbortSignal | undefined,
    silenceMs?: number | null | undefined,
    options?: { whileVisible?: boolean | undefined },
  );
  /** Whether it was ended because the page was hidden. */
  readonly isLetGo: boolean;
  readonly signal: AbortSignal;
  /** From now on it is given up after `silenceMs` without a byte; null: never. */
  limitSilence(silenceMs?: number | null | undefined): void;
  /** A byte came: the silence begins anew. */
  isAlive(): void;
  close(): void;
}
