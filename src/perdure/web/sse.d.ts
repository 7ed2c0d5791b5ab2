/** One server-sent event. */
export interface SseFrame {
  /** `message` where the frame names none. */
  event: string;
  /** The data lines, joined with LF. */
  data: string;
  /** The id of this very frame, if it has one. */
  id: string | undefined;
}

/** Bytes in, in any slices; whole frames out, in order. No I/O. */
export class SseParser {
  /** The `id` last seen in a finished frame, also in one without data. */
  lastEventId: string;
  /** The last `retry` in milliseconds, if the server sent one. */
  retryMs: number | undefined;
  /** The frames that end within `bytes`. */
  push(bytes: Uint8Array): SseFrame[];
}

/**
 * The frames of a response body. A last frame without its blank line is dropped. Leaving the loop early cancels the
 * body; `onBytes` is called for whatever arrives, pings included. An abort of `signal` rejects with its reason.
 */
export function readFrames(
  body: ReadableStream<Uint8Array>,
  options?: {
    parser?: SseParser | undefined;
    onBytes?: (() => void) | undefined;
    signal?: AbortSignal | undefined;
  },
): AsyncGenerator<SseFrame, void, undefined>;
