/** One place in a log, shared by all that read for one client. It only ever moves forward. */
export class Cursor {
  /** The next sequence number to read; undefined until there is one. */
  readonly value: number | undefined;
  /** A place of its own for one of several readers: it begins here, and moves this one on as it goes. */
  fork(): Cursor;
  /** Move to `place`, an id of a frame or a number; what is neither, or is behind, changes nothing. */
  advance(place: string | number | undefined): void;
}

/** Whether `value` is a number that a cursor can have. */
export function isPlace(value: unknown): value is number;

/** A URL of a replay: the cursor is added to a string as the query parameter `from`; a function gets it. */
export type ReplayUrl = string | URL | ((cursor: number | undefined) => string | URL);

/** The URL of a replay from `cursor` on. */
export function urlAt(url: ReplayUrl, cursor: number | undefined): string | URL;
