import { formatCount } from "../format";

/** Where the kept part of a stream begins. */
export function firstMark(first: number) {
  return (
    <span role="gridcell" className="row-mark" aria-colspan={4}>
      {first === 1 ? "Record 0 is not kept any more" : `0 to ${formatCount(first - 1)} are not kept any more: trimmed or expired`}
    </span>
  );
}

/** Where the next record will be. */
export function tailMark(tail: number, isEmpty: boolean, paused: boolean) {
  const what = tail === 0 ? "Nothing was written yet" : isEmpty ? "Nothing is kept" : paused ? "Paused" : "Tail";
  return (
    <span role="gridcell" className="row-mark" aria-colspan={4}>
      {what} · the next record {paused ? "was to be" : "is"} {formatCount(tail)}
    </span>
  );
}
