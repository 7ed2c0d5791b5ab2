/** How long a page may be hidden before it lets go of a connection, in milliseconds. */
export const HIDDEN_MS: number;

/** What is looked at of a page: its document. */
export type Page = Pick<Document, "visibilityState" | "addEventListener" | "removeEventListener">;

/** Calls `onHidden` once the page has been hidden for `HIDDEN_MS`. Gives a function that ends the looking. */
export function whenHidden(onHidden: () => void, page?: Page | undefined): () => void;

/** Resolves when the page can be seen, or when aborted; at once where there is no page. */
export function untilSeen(signal?: AbortSignal | undefined, page?: Page | undefined): Promise<void>;
