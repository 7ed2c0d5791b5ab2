// Basins of an account, streams of a basin: names that one searches, opens, creates and deletes.

import { type KeyboardEvent, type ReactNode, useCallback, useEffect, useRef, useState } from "react";
import type { ApiError } from "../api/errors";
import type { ListQuery, Page } from "../api/types";
import { formatCount, formatRelative, formatTime } from "../format";
import { Bin, Plus, Search } from "../icons";
import { Problem } from "../problem";
import { goTo, hrefOf, type Route } from "../route";
import { useShortcuts } from "../shortcuts";
import { useNames } from "./use-names";
import { type RowsHandle, VirtualRows } from "./virtual-rows";

export interface Named {
  name: string;
  createdAt: string;
  deletedAt: string | null;
}

interface NamesPageProps<T extends Named> {
  /** In the plural, such as "streams". */
  what: string;
  singular: string;
  list: (query: ListQuery, signal: AbortSignal) => Promise<Page<T>>;
  routeOf: (name: string) => Route;
  /** What else a row says. */
  mark: (item: T) => ReactNode;
  /** What is said while there is nothing. */
  nothing: ReactNode;
  createDialog: (close: (created: string | undefined) => void) => ReactNode;
  deleteDialog: (item: T, close: (deleted: boolean) => void) => ReactNode;
}

const ROW_HEIGHT = 42;
const AHEAD = 60;

export function NamesPage<T extends Named>(props: NamesPageProps<T>) {
  const { what, singular, list, routeOf, mark, nothing, createDialog, deleteDialog } = props;
  const [prefix, setPrefix] = useState("");
  const [active, setActive] = useState(-1);
  const [creating, setCreating] = useState(false);
  const [deleting, setDeleting] = useState<T>();
  const search = useRef<HTMLInputElement>(null);
  const rows = useRef<RowsHandle>(null);
  const names = useNames(list, prefix);
  const { items, hasMore, full, loading, error, loadMore, reload } = names;
  const now = Date.now();

  useEffect(() => setActive(-1), [prefix]);

  const more = useRef(loadMore);
  more.current = loadMore;
  const onVisible = useCallback((_: number, end: number) => {
    if (end + AHEAD >= items.length) more.current();
  }, [items.length]);

  useShortcuts({
    "/": () => search.current?.focus(),
    c: () => setCreating(true),
    j: () => rows.current?.focus(),
    ArrowDown: () => rows.current?.focus(),
  });

  const open = (row: number) => {
    const item = items[row];
    if (item) goTo(routeOf(item.name));
  };

  const onSearchKey = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown" && items.length > 0) {
      event.preventDefault();
      setActive(0);
      rows.current?.focus();
    } else if (event.key === "Enter" && items[0]) {
      event.preventDefault();
      const exact = items.findIndex(({ name }) => name === prefix);
      open(Math.max(exact, 0));
    } else if (event.key === "Escape") {
      setPrefix("");
      search.current?.blur();
    }
  };

  const counted = `${formatCount(items.length)}${hasMore && !loading ? "+" : ""} ${items.length === 1 ? singular : what}`;
  return (
    <section className="names" aria-label={what}>
      <div className="toolbar">
        <label className="search">
          <Search />
          <span className="hidden">Prefix of the names of {what}</span>
          <input
            ref={search}
            type="search"
            value={prefix}
            placeholder={`Names that begin with …`}
            spellCheck={false}
            autoComplete="off"
            onChange={(event) => setPrefix(event.target.value)}
            onKeyDown={onSearchKey}
          />
          <kbd aria-hidden="true">/</kbd>
        </label>
        <span className="count" role="status">
          {loading && items.length === 0 ? "Loading …" : error === undefined ? counted : ""}
        </span>
        <button className="button primary" onClick={() => setCreating(true)}>
          <Plus /> <span>New {singular}</span>
        </button>
      </div>
      {error !== undefined && (
        <Problem error={error} retry={reload}>
          {(error as ApiError).isForbidden && <ByName singular={singular} routeOf={routeOf} />}
        </Problem>
      )}
      {items.length === 0 && !loading && error === undefined ? (
        <div className="empty">{prefix ? <p>No {singular} has a name that begins with “{prefix}”.</p> : nothing}</div>
      ) : (
        <VirtualRows
          label={what}
          className="name-rows"
          columns={3}
          count={items.length}
          rowHeight={ROW_HEIGHT}
          active={active}
          onActive={setActive}
          onOpen={open}
          onVisible={onVisible}
          handle={rows}
          renderRow={(row) => {
            const item = items[row]!;
            return (
              <>
                <span role="gridcell" className="name">
                  <a href={hrefOf(routeOf(item.name))} tabIndex={-1}>
                    {shown(item.name)}
                  </a>
                  {mark(item)}
                  {item.deletedAt !== null && <span className="chip rust">being deleted</span>}
                </span>
                <time role="gridcell" className="when" dateTime={item.createdAt} title={formatTime(Date.parse(item.createdAt))}>
                  created {formatRelative(Date.parse(item.createdAt), now)}
                </time>
                <span role="gridcell" className="acts">
                  <button className="quiet" tabIndex={-1} aria-label={`Delete ${item.name}`} onClick={() => setDeleting(item)}>
                    <Bin />
                  </button>
                </span>
              </>
            );
          }}
        />
      )}
      {full && hasMore && (
        <p className="notice">
          The first {formatCount(items.length)} are listed. Type how the name begins to see others.
        </p>
      )}
      {creating &&
        createDialog((created) => {
          setCreating(false);
          if (created !== undefined) goTo(routeOf(created));
        })}
      {deleting &&
        deleteDialog(deleting, (deleted) => {
          setDeleting(undefined);
          if (deleted) reload();
        })}
    </section>
  );
}

/** For a token that may use what it may not list. */
function ByName({ singular, routeOf }: { singular: string; routeOf: (name: string) => Route }) {
  const [name, setName] = useState("");
  return (
    <form
      className="by-name"
      onSubmit={(event) => {
        event.preventDefault();
        if (name) goTo(routeOf(name));
      }}
    >
      <label className="field">
        <span>Open a {singular} by its name</span>
        <input value={name} spellCheck={false} autoComplete="off" onChange={(event) => setName(event.target.value)} />
      </label>
      <button className="button primary" disabled={!name}>
        Open
      </button>
    </form>
  );
}

/** A name with its control characters and outer spaces made visible. */
function shown(name: string): string {
  return name
    .replace(/[\u0000-\u001f\u007f]/g, (character) => String.fromCharCode(0x2400 + (character.charCodeAt(0) & 0x7f) % 0x7f))
    .replace(/^ +| +$/g, (spaces) => "␣".repeat(spaces.length));
}
