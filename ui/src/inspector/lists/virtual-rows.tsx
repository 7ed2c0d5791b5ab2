// A grid of rows of one height, of which only those in sight exist. It scrolls over millions of them.

import {
  type KeyboardEvent,
  type ReactNode,
  type Ref,
  useCallback,
  useEffect,
  useId,
  useImperativeHandle,
  useLayoutEffect,
  useReducer,
  useRef,
  useState,
} from "react";
import { clampTop, type Extent, isScaled, scrolledHeight, scrollTopOf, topOf } from "./scaled-scroll";

/** `nearest` scrolls as little as it takes; `center-if-away` leaves alone what is in sight. */
export type Align = "nearest" | "center" | "center-if-away";

export interface RowsHandle {
  scrollToRow: (row: number, align: Align) => void;
  focus: () => void;
}

interface VirtualRowsProps {
  label: string;
  className?: string;
  /** How many columns each row has. */
  columns: number;
  count: number;
  /** What the first row counts as: when it grows, rows went away above, and those in sight stay where they are. */
  origin?: number;
  rowHeight: number;
  /** The row that the keyboard is at, or -1. */
  active: number;
  /** Keep the end in sight while rows are added. */
  pinned?: boolean;
  /** The cells of a row; `undefined` leaves it empty. */
  renderRow: (row: number) => ReactNode;
  /** More of a row for a class or a test to find it by. */
  rowKind?: (row: number) => string | undefined;
  onActive: (row: number) => void;
  onOpen?: (row: number) => void;
  /** Which rows are in sight, the last one excluded. */
  onVisible?: (first: number, end: number) => void;
  /** The user scrolled; `atEnd`: the last row is in sight. */
  onScrolled?: (atEnd: boolean) => void;
  handle?: Ref<RowsHandle>;
}

const END_TOLERANCE = 4;
const LINE_PIXELS = 40;
const NO_VIEW = 600; // until the element is measured

export function VirtualRows(props: VirtualRowsProps) {
  const { label, className = "", columns, count, origin = 0, rowHeight, active, pinned = false } = props;
  const { renderRow, rowKind, onActive, onOpen, onVisible, onScrolled, handle } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const [view, setView] = useState(NO_VIEW);
  const top = useRef(0);
  const expected = useRef(0); // the scrollTop that this component set or saw last
  const touching = useRef(false);
  const [, redraw] = useReducer((turns: number) => turns + 1, 0);
  const id = useId();
  const extent: Extent = { total: count * rowHeight, view };
  const current = useRef(extent);
  current.current = extent;

  const moveTo = useCallback((next: number) => {
    const element = scroller.current;
    if (!element) return;
    top.current = clampTop(next, current.current);
    const scrollTop = Math.round(scrollTopOf(top.current, current.current));
    if (Math.abs(element.scrollTop - scrollTop) >= 1) element.scrollTop = scrollTop;
    expected.current = element.scrollTop;
    redraw();
  }, []);

  const atEnd = () => top.current + current.current.view >= current.current.total - END_TOLERANCE;

  useEffect(() => {
    const element = scroller.current!;
    const measured = new ResizeObserver(() => setView(element.clientHeight));
    measured.observe(element);
    const onWheel = (event: WheelEvent) => {
      if (!isScaled(current.current) || event.ctrlKey) return; // one to one: the browser scrolls better
      event.preventDefault();
      const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE_PIXELS : 1;
      moveTo(top.current + event.deltaY * unit);
      scrolled.current?.(atEnd());
    };
    element.addEventListener("wheel", onWheel, { passive: false });
    return () => {
      measured.disconnect();
      element.removeEventListener("wheel", onWheel);
    };
  }, [moveTo]);

  const scrolled = useRef(onScrolled);
  scrolled.current = onScrolled;

  const onScroll = () => {
    const scrollTop = scroller.current!.scrollTop;
    const moved = scrollTop - expected.current;
    if (Math.abs(moved) < 1) return; // our own
    expected.current = scrollTop;
    const next = touching.current && isScaled(extent) ? top.current + moved : topOf(scrollTop, extent);
    top.current = clampTop(next, extent);
    onScrolled?.(atEnd());
    redraw();
  };

  const before = useRef({ origin, count });
  useLayoutEffect(() => {
    const goneAbove = origin - before.current.origin;
    before.current = { origin, count };
    if (pinned) moveTo(Number.MAX_SAFE_INTEGER);
    else moveTo(top.current - goneAbove * rowHeight);
  }, [origin, count, view, pinned, rowHeight, moveTo]);

  const scrollToRow = useCallback(
    (row: number, align: Align) => {
      const { view: height } = current.current;
      const start = row * rowHeight;
      const inSight = start >= top.current && start + rowHeight <= top.current + height;
      if (inSight && align !== "center") return;
      if (align !== "nearest") return moveTo(start - (height - rowHeight) / 2);
      if (start < top.current) moveTo(start);
      else if (start + rowHeight > top.current + height) moveTo(start + rowHeight - height);
    },
    [rowHeight, moveTo],
  );

  // What opens beside the rows may take their room: the row that the keyboard is at stays in sight.
  const viewed = useRef({ view, active });
  useLayoutEffect(() => {
    const { view: had, active: wasAt } = viewed.current;
    viewed.current = { view, active };
    const start = active * rowHeight;
    if (view < had && active === wasAt && active >= 0 && start >= top.current && start < top.current + had) {
      scrollToRow(active, "nearest");
    }
  }, [view, active, rowHeight, scrollToRow]);

  useImperativeHandle(handle, () => ({ scrollToRow, focus: () => scroller.current?.focus() }), [scrollToRow]);

  const first = Math.max(0, Math.floor(top.current / rowHeight));
  const end = Math.min(count, Math.ceil((top.current + view) / rowHeight));
  useEffect(() => onVisible?.(first, end), [first, end, onVisible]);

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== scroller.current) return;
    const page = Math.max(1, Math.floor(view / rowHeight) - 1);
    const from = active < 0 ? first - 1 : active;
    const target = {
      ArrowDown: from + 1,
      j: from + 1,
      ArrowUp: active < 0 ? end - 1 : active - 1,
      k: active < 0 ? end - 1 : active - 1,
      PageDown: from + page,
      PageUp: from - page,
      Home: 0,
      End: count - 1,
    }[event.key];
    if (event.key === "Enter" && active >= 0 && onOpen) {
      event.preventDefault();
      onOpen(active);
    } else if (target !== undefined && count > 0) {
      event.preventDefault();
      event.stopPropagation();
      const row = Math.max(0, Math.min(count - 1, target));
      onActive(row);
      scrollToRow(row, "nearest");
    }
  };

  const rows: ReactNode[] = [];
  for (let row = first; row < end; row++) {
    rows.push(
      <div
        key={origin + row}
        id={`${id}-${origin + row}`}
        role="row"
        className="row"
        aria-rowindex={row + 1}
        aria-selected={row === active}
        data-kind={rowKind?.(row)}
        style={{ height: rowHeight, transform: `translateY(${row * rowHeight - top.current}px)` }}
        onMouseDown={(event) => event.button === 0 && onActive(row)}
      >
        {renderRow(row)}
      </div>,
    );
  }
  const activeShown = active >= first && active < end;
  return (
    <div
      ref={scroller}
      className={`rows ${className}`}
      role="grid"
      aria-label={label}
      aria-rowcount={count}
      aria-colcount={columns}
      aria-activedescendant={activeShown ? `${id}-${origin + active}` : undefined}
      tabIndex={0}
      onScroll={onScroll}
      onKeyDown={onKeyDown}
      onTouchStart={() => (touching.current = true)}
      onTouchEnd={() => (touching.current = false)}
    >
      <div className="rows-extent" role="presentation" style={{ height: scrolledHeight(extent) }}>
        <div className="rows-window" role="rowgroup" style={{ height: view }}>
          {rows}
        </div>
      </div>
    </div>
  );
}
