// How many records a stream had at which time, known at some places and bounded between them.
//
// Numbers and times of records only grow, so between two known places the curve stays inside of the rectangle that they
// span. The largest rectangle is where the next look says most: a stream of a million records is known to the pixel
// after some hundred looks, wherever its bursts and pauses are.

export interface Place {
  time: number;
  seqNum: number;
}

export interface Span {
  from: number;
  to: number;
}

export type Probe = { kind: "seqNum"; seqNum: number } | { kind: "time"; time: number };

/** A rectangle that takes less of the picture than this is a line already. */
const SMALL_ENOUGH = 1 / 40_000;

/** Places in order, each later in time or number than the one before. */
export class Curve {
  #places: Place[] = [];
  /** Grows with what is known. */
  version = 0;

  get places(): readonly Place[] {
    return this.#places;
  }

  add(...found: Place[]): void {
    const key = ({ time, seqNum }: Place) => `${time} ${seqNum}`;
    const known = new Set(this.#places.map(key));
    const added = found.filter((place) => !known.has(key(place)));
    if (added.length === 0) return;
    this.version += 1;
    this.#places = [...this.#places, ...added].sort((one, other) => one.time - other.time || one.seqNum - other.seqNum);
  }

  /** What an answer to `probe` tells: the record that was read, the first one at or after the time asked for. */
  learn(probe: Probe, record: Place): void {
    if (probe.kind === "time" && probe.time <= record.time) this.add({ time: probe.time, seqNum: record.seqNum }, record);
    else this.add(record);
  }

  /** About which record was the next one at this time. */
  seqNumAt(time: number): number {
    const places = this.#places;
    const first = places[0];
    const last = places.at(-1);
    if (!first || !last || time <= first.time) return first?.seqNum ?? 0;
    if (time >= last.time) return last.seqNum;
    const index = indexAt(places, time);
    const before = places[index - 1] as Place;
    const after = places[index] as Place;
    const share = after.time === before.time ? 1 : (time - before.time) / (after.time - before.time);
    return before.seqNum + share * (after.seqNum - before.seqNum);
  }

  /** The places inside of a span, and the nearest one on either side. */
  within({ from, to }: Span): readonly Place[] {
    const start = Math.max(0, indexAt(this.#places, from) - 1);
    let end = indexAt(this.#places, to);
    while (end < this.#places.length && (this.#places[end] as Place).time <= to) end += 1;
    return this.#places.slice(start, end + 1);
  }

  /** Where to look next to know the curve better in this span, the most telling first; nowhere if it is known. */
  probes(span: Span, count: number): Probe[] {
    const places = this.within(span);
    const first = places[0];
    const last = places.at(-1);
    if (!first || !last) return [];
    const width = span.to - span.from;
    const height = Math.max(1, this.seqNumAt(span.to) - this.seqNumAt(span.from));
    const rectangles = places.slice(1).map((after, index) => {
      const before = places[index] as Place;
      const wide = (Math.min(after.time, span.to) - Math.max(before.time, span.from)) / width;
      const high = (after.seqNum - before.seqNum) / height;
      return { before, after, wide, high, area: wide * high };
    });
    return rectangles
      .filter(({ before, after, area }) => area > SMALL_ENOUGH && after.seqNum - before.seqNum > 1 && after.time - before.time > 1)
      .sort((one, other) => other.area - one.area)
      .slice(0, count)
      .map(({ before, after, wide, high }) =>
        high >= wide
          ? { kind: "seqNum", seqNum: Math.floor((before.seqNum + after.seqNum) / 2) }
          : { kind: "time", time: Math.floor((Math.max(before.time, span.from) + Math.min(after.time, span.to)) / 2) },
      );
  }
}

/** How many records came in each of `count` equal parts of a span. */
export function densities(curve: Curve, { from, to }: Span, count: number): number[] {
  const step = (to - from) / count;
  const bounds = Array.from({ length: count + 1 }, (_, index) => curve.seqNumAt(from + index * step));
  return bounds.slice(1).map((bound, index) => bound - (bounds[index] as number));
}

/** A span of another length around a time that stays where it is, inside of `whole`. */
export function zoomed(span: Span, factor: number, around: number, whole: Span): Span {
  const length = Math.max(SHORTEST_MS, (span.to - span.from) * factor);
  if (length >= whole.to - whole.from) return whole;
  const from = around - ((around - span.from) / (span.to - span.from)) * length;
  return moved({ from, to: from + length }, 0, whole);
}

const SHORTEST_MS = 20;

export function moved({ from, to }: Span, by: number, whole: Span): Span {
  const length = to - from;
  const start = Math.max(whole.from, Math.min(whole.to - length, from + by));
  return { from: start, to: start + length };
}

/** The index of the first place that is not before `time`. */
function indexAt(places: readonly Place[], time: number): number {
  let low = 0;
  let high = places.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((places[middle] as Place).time < time) low = middle + 1;
    else high = middle;
  }
  return low;
}
