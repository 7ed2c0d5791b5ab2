// The pages of a listing, one after the other as they come into sight.

import { useCallback, useEffect, useRef, useState } from "react";
import { isAbort } from "../api/errors";
import type { ListQuery, Page } from "../api/types";

const PAGE_SIZE = 1000;
const MOST_NAMES = 50_000;
/** Typing asks when it pauses. */
const TYPING_MS = 150;

export interface Names<T> {
  items: T[];
  /** There are more than are loaded. */
  hasMore: boolean;
  /** No more are loaded, since nobody reads so many: a prefix finds the rest. */
  full: boolean;
  loading: boolean;
  error: unknown;
  loadMore: () => void;
  reload: () => void;
}

type Listing<T> = (query: ListQuery, signal: AbortSignal) => Promise<Page<T>>;

/** `list` has to be the same function from one drawing to the next. */
export function useNames<T extends { name: string }>(list: Listing<T>, prefix: string): Names<T> {
  const [items, setItems] = useState<T[]>([]);
  const [hasMore, setHasMore] = useState(true);
  const [loading, setLoading] = useState(true);
  const [error, setError] = useState<unknown>();
  const [turn, setTurn] = useState(0);
  const asking = useRef<AbortController>(null);
  const first = useRef(true);

  const load = useCallback(
    async (startAfter: string, known: T[]) => {
      asking.current?.abort();
      const own = (asking.current = new AbortController());
      setLoading(true);
      try {
        const page = await list({ prefix, startAfter, limit: PAGE_SIZE }, own.signal);
        setItems([...known, ...page.items]);
        setHasMore(page.hasMore);
        setError(undefined);
        setLoading(false);
      } catch (failure) {
        if (isAbort(failure)) return;
        setError(failure);
        setLoading(false);
      }
    },
    [list, prefix],
  );

  useEffect(() => {
    const timer = setTimeout(() => void load("", []), first.current ? 0 : TYPING_MS);
    first.current = false;
    return () => {
      clearTimeout(timer);
      asking.current?.abort();
    };
  }, [load, turn]);

  const full = items.length >= MOST_NAMES;
  const loadMore = () => {
    const last = items.at(-1);
    if (last && hasMore && !loading && !full && error === undefined) void load(last.name, items);
  };
  return { items, hasMore, full, loading, error, loadMore, reload: () => setTurn((turns) => turns + 1) };
}
