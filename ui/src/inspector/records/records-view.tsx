// The records of a stream: those around where one looks, and what comes at the tail.

import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import type { StoreClient } from "../api/client";
import { ApiError } from "../api/errors";
import type { StreamRef } from "../api/types";
import { type RowsHandle, VirtualRows } from "../lists/virtual-rows";
import { Problem } from "../problem";
import { replaceRoute } from "../route";
import { useShortcuts } from "../shortcuts";
import { AppendDialog } from "./append-dialog";
import { FenceDialog, TrimDialog } from "./command-dialogs";
import { matching } from "./filtering";
import type { Target } from "./jump";
import { KeyForm } from "./key-form";
import { NewRecords } from "./new-records";
import { RecordCells, type TimeForm } from "./record-cells";
import { RecordDetails } from "./record-details";
import { RecordsToolbar } from "./records-toolbar";
import { firstMark, tailMark } from "./row-marks";
import { useNow } from "./use-now";
import { useRecordSource } from "./use-record-source";

interface RecordsViewProps {
  client: StoreClient;
  stream: StreamRef;
  /** The record that the address names. */
  seqNum: number | undefined;
  onKey: (key: string) => void;
}

type Asked = "append" | "fence" | "trim";

const ROW_HEIGHT = 30;

export function RecordsView({ client, stream, seqNum: selected, onKey }: RecordsViewProps) {
  const [turn, setTurn] = useState(0);
  const [source, state] = useRecordSource(client, stream, turn);
  const [following, setFollowing] = useState(selected === undefined);
  const [pausedAt, setPausedAt] = useState<number>();
  const [seen, setSeen] = useState<number>(); // the tail when one looked away from it
  const [filter, setFilter] = useState("");
  const [time, setTime] = useState<TimeForm>("absolute");
  const [asked, setAsked] = useState<Asked>();
  const [problem, setProblem] = useState<unknown>();
  const [awaited, setAwaited] = useState<Target>(); // asked for before the ends of the stream were known
  const rows = useRef<RowsHandle>(null);
  const filterInput = useRef<HTMLInputElement>(null);
  const jumpInput = useRef<HTMLInputElement>(null);
  const now = useNow();

  const { first, opened, error } = state;
  const tail = pausedAt ?? state.tail;
  const isFiltered = filter.trim() !== "";
  const found = useMemo(
    () => (isFiltered ? matching(source.window.held(), filter) : []),
    [isFiltered, filter, source, state.version],
  );

  // A row above the records tells what was trimmed, one below them where the tail is.
  const lead = first > 0 && !isFiltered ? 1 : 0;
  const records = isFiltered ? found.length : Math.max(0, tail - first);
  const count = records + lead + (isFiltered || !opened ? 0 : 1);
  const rowOf = (seqNum: number) =>
    isFiltered ? found.findIndex((record) => record.seqNum === seqNum) : seqNum - first + lead;
  const seqNumAt = (row: number) => (isFiltered ? found[row]?.seqNum : row - lead + first);

  const select = useCallback(
    (seqNum: number | undefined) => {
      const at = seqNum === undefined ? {} : { seqNum };
      replaceRoute({ kind: "stream", basin: stream.basin, stream: stream.stream, tab: "records", ...at });
    },
    [stream],
  );

  const leaveTail = () => {
    if (following) setSeen(state.tail);
    setFollowing(false);
  };

  const selectRow = (row: number) => {
    if (records === 0) return;
    const inside = Math.max(lead, Math.min(lead + records - 1, row));
    leaveTail();
    select(seqNumAt(inside));
  };

  const goTo = (seqNum: number) => {
    if (records === 0) return;
    const inside = Math.max(first, Math.min(tail - 1, seqNum));
    setFilter("");
    leaveTail();
    select(inside);
    rows.current?.focus();
    requestAnimationFrame(() => rows.current?.scrollToRow(inside - first + (first > 0 ? 1 : 0), "center"));
  };

  const goToTail = () => {
    setFilter("");
    setPausedAt(undefined);
    setFollowing(true);
    select(undefined);
    rows.current?.focus();
  };

  const togglePause = () => {
    if (pausedAt === undefined) {
      setPausedAt(state.tail);
      setSeen(state.tail);
    } else {
      setPausedAt(undefined);
    }
  };

  const jump = async (target: Target) => {
    setProblem(undefined);
    if (!opened) return setAwaited(target);
    if (target.kind === "record") return goTo(target.seqNum);
    if (target.kind === "back") return goTo(state.tail - target.count);
    try {
      goTo(await source.seqNumAt(target.timestamp));
    } catch (failure) {
      setProblem(failure);
    }
  };

  useShortcuts({
    "/": () => filterInput.current?.focus(),
    ":": () => jumpInput.current?.focus(),
    g: () => void jump({ kind: "record", seqNum: 0 }),
    G: goToTail,
    p: togglePause,
    a: () => setAsked("append"),
    y: () => document.querySelector<HTMLElement>("[data-copy]")?.click(),
    j: () => moveBy(1),
    k: () => moveBy(-1),
    ArrowDown: () => moveBy(1),
    ArrowUp: () => moveBy(-1),
    Escape: () => (filter ? setFilter("") : select(undefined)),
  });

  const moveBy = (rowsOn: number) => {
    if (!opened) return void jump({ kind: "back", count: 1 });
    const from = selected === undefined ? lead + records : rowOf(selected);
    const row = Math.max(lead, Math.min(lead + records - 1, selected === undefined ? from - 1 : from + rowsOn));
    rows.current?.focus();
    selectRow(row);
    rows.current?.scrollToRow(row, "nearest");
  };

  useEffect(() => {
    if (!opened || awaited === undefined) return;
    setAwaited(undefined);
    void jump(awaited);
  }, [opened, awaited]);

  // The record that the address names, when the page opens and when somebody changes the address.
  const shownFor = useRef<number>(undefined);
  useEffect(() => {
    if (!opened || selected === undefined || shownFor.current === selected) return;
    shownFor.current = selected;
    if (!following) rows.current?.scrollToRow(selected - first + lead, "center-if-away");
  }, [opened, selected, following, first, lead]);

  const onVisible = useCallback(
    (start: number, end: number) => {
      if (!isFiltered) source.want(first + start - lead, first + end - lead);
    },
    [source, first, lead, isFiltered],
  );
  const tailNow = useRef(state.tail);
  tailNow.current = state.tail;
  useEffect(() => {
    if (opened) setSeen(tailNow.current);
  }, [opened, source]);

  const record = selected === undefined ? undefined : source.window.get(selected);

  if (error instanceof ApiError && error.wantsKey) {
    return <KeyForm refused={stream.encryptionKey !== undefined} onKey={onKey} />;
  }
  if (!opened && error !== undefined) return <Problem error={error} retry={() => setTurn(turn + 1)} />;
  const behind = seen === undefined ? 0 : state.tail - seen;
  return (
    <section className="records" aria-label="Records" data-details={selected === undefined ? undefined : "open"}>
      <RecordsToolbar
        opened={opened}
        first={first}
        tail={tail}
        found={isFiltered ? found.length : undefined}
        held={source.window.size}
        filter={filter}
        filterInput={filterInput}
        onFilter={setFilter}
        jumpInput={jumpInput}
        onJump={jump}
        time={time}
        onTime={setTime}
        follow={state.follow}
        paused={pausedAt !== undefined}
        onPause={togglePause}
        onAsk={setAsked}
      />
      {(error ?? problem) !== undefined && (
        <Problem error={error ?? problem} retry={() => (setProblem(undefined), setTurn(turn + 1))} />
      )}
      <div className="records-body">
        <div className="records-list">
          {!opened && <p className="empty">Loading …</p>}
          <VirtualRows
            label="records"
            className="record-rows"
            columns={4}
            count={count}
            origin={isFiltered ? 0 : first - lead}
            rowHeight={ROW_HEIGHT}
            active={selected === undefined ? -1 : rowOf(selected)}
            pinned={following && pausedAt === undefined && !isFiltered}
            onActive={selectRow}
            onVisible={onVisible}
            onScrolled={(atEnd) => (atEnd && pausedAt === undefined ? setFollowing(true) : leaveTail())}
            handle={rows}
            rowKind={(row) => (isFiltered ? undefined : row < lead ? "first" : row >= lead + records ? "tail" : undefined)}
            renderRow={(row) => {
              if (!isFiltered && row < lead) return firstMark(first);
              if (row >= lead + records) return tailMark(tail, tail === first, pausedAt !== undefined);
              const seqNum = seqNumAt(row)!;
              const shown = source.window.get(seqNum);
              if (shown) return <RecordCells record={shown} time={time} now={now} />;
              return (
                <>
                  <span role="gridcell" className="seq">
                    {seqNum.toLocaleString("en")}
                  </span>
                  <span role="gridcell" className="soft">
                    {source.window.isGone(seqNum) ? "gone: trimmed or expired" : "…"}
                  </span>
                </>
              );
            }}
          />
          {behind > 0 && (!following || pausedAt !== undefined) && <NewRecords count={behind} onShow={goToTail} />}
        </div>
        {record && <RecordDetails record={record} now={now} onClose={() => select(undefined)} />}
        {selected !== undefined && !record && (
          <aside className="details" aria-label={`Record ${selected}`}>
            <p className="empty">
              {!opened
                ? "Loading …"
                : selected < first
                ? `Record ${selected} is not kept any more.`
                : selected >= state.tail
                  ? `Record ${selected} is not written yet.`
                  : "Loading …"}
            </p>
          </aside>
        )}
      </div>
      {asked === "append" && (
        <AppendDialog client={client} stream={stream} tail={opened ? state.tail : undefined} onClose={() => setAsked(undefined)} />
      )}
      {asked === "fence" && (
        <FenceDialog client={client} stream={stream} first={first} tail={state.tail} onClose={() => setAsked(undefined)} />
      )}
      {asked === "trim" && (
        <TrimDialog
          client={client}
          stream={stream}
          first={first}
          tail={state.tail}
          selected={selected}
          onClose={() => setAsked(undefined)}
        />
      )}
    </section>
  );
}
