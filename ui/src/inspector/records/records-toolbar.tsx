import type { RefObject } from "react";
import type { FollowState } from "../api/following";
import { formatCount } from "../format";
import { Pause, Play, Plus, Scissors, Search, Shield } from "../icons";
import { Segments } from "../segments";
import { JumpBox } from "./jump-box";
import type { Target } from "./jump";
import type { TimeForm } from "./record-cells";

interface RecordsToolbarProps {
  /** Both ends are known. */
  opened: boolean;
  first: number;
  tail: number;
  /** How many the filter finds; undefined without one. */
  found: number | undefined;
  held: number;
  filter: string;
  filterInput: RefObject<HTMLInputElement | null>;
  onFilter: (filter: string) => void;
  jumpInput: RefObject<HTMLInputElement | null>;
  onJump: (target: Target) => void;
  time: TimeForm;
  onTime: (time: TimeForm) => void;
  follow: FollowState;
  paused: boolean;
  onPause: () => void;
  onAsk: (asked: "append" | "fence" | "trim") => void;
}

export function RecordsToolbar(props: RecordsToolbarProps) {
  const { opened, first, tail, found, held, filter, filterInput, onFilter, jumpInput, onJump } = props;
  const { time, onTime, follow, paused, onPause, onAsk } = props;
  const count = tail - first;
  return (
    <div className="toolbar">
      <label className="search">
        <Search />
        <span className="hidden">Filter the records that are loaded</span>
        <input
          ref={filterInput}
          type="search"
          value={filter}
          placeholder="Filter what is loaded"
          spellCheck={false}
          autoComplete="off"
          onChange={(event) => onFilter(event.target.value)}
          onKeyDown={(event) => {
            if (event.key !== "Escape") return;
            onFilter("");
            filterInput.current?.blur();
          }}
        />
        <kbd aria-hidden="true">/</kbd>
      </label>
      <JumpBox input={jumpInput} onJump={onJump} />
      <span className="count" role="status">
        {!opened
          ? ""
          : found === undefined
          ? `${formatCount(count)} record${count === 1 ? "" : "s"}`
          : `${formatCount(found)} of ${formatCount(held)} loaded`}
      </span>
      <span className="live-state" data-state={paused ? "paused" : follow.kind} title={follow.kind === "lost" ? follow.error.message : ""}>
        {paused ? "Paused" : LIVE[follow.kind]}
      </span>
      <button className="button" aria-pressed={paused} onClick={onPause} title={paused ? "Resume (p)" : "Pause (p)"}>
        {paused ? <Play /> : <Pause />} <span>{paused ? "Resume" : "Pause"}</span>
      </button>
      <Segments<TimeForm>
        label="Timestamps"
        value={time}
        onChange={onTime}
        options={[
          { value: "absolute", label: "Time" },
          { value: "relative", label: "Age" },
        ]}
      />
      <span className="button-group">
        <button className="button" disabled={!opened} onClick={() => onAsk("fence")} title="Fence the stream">
          <Shield /> <span>Fence</span>
        </button>
        <button className="button" disabled={!opened} onClick={() => onAsk("trim")} title="Trim the stream">
          <Scissors /> <span>Trim</span>
        </button>
        <button className="button primary" onClick={() => onAsk("append")} title="Append a record (a)">
          <Plus /> <span>Append</span>
        </button>
      </span>
    </div>
  );
}

const LIVE = { connecting: "Connecting", live: "Live", lost: "Reconnecting" };
