// Round times and numbers for axes.

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((count) => count * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((count) => count * MINUTE),
  ...[1, 2, 3, 6, 12].map((count) => count * HOUR),
  ...[1, 2, 7, 14, 30, 90, 365].map((count) => count * DAY),
];

export interface Tick {
  value: number;
  label: string;
}

/** Round local times in a span, at most about `most`. */
export function timeTicks(from: number, to: number, most: number): Tick[] {
  const step = STEPS.find((step) => (to - from) / step <= most) ?? (STEPS.at(-1) as number);
  // Offsets from UTC change with the date; what is a day or longer counts from the local midnight.
  const offset = new Date(from).getTimezoneOffset() * MINUTE;
  const ticks: Tick[] = [];
  let day = "";
  for (let value = Math.ceil((from - offset) / step) * step + offset; value <= to; value += step) {
    const date = new Date(value);
    const tells = dayOf(date);
    ticks.push({ value, label: step >= DAY ? tells : tells === day || day === "" ? timeOf(date, step) : `${tells} ${timeOf(date, step)}` });
    day = tells;
  }
  return ticks;
}

/** Round numbers in a range, at most about `most`, without fractions. */
export function countTicks(from: number, to: number, most: number): number[] {
  const rough = (to - from) / most;
  const magnitude = 10 ** Math.floor(Math.log10(Math.max(1, rough)));
  const step = [1, 2, 5, 10].map((count) => count * magnitude).find((step) => step >= rough) ?? magnitude;
  const ticks = [];
  for (let value = Math.ceil(from / step) * step; value <= to; value += step) ticks.push(value);
  return ticks;
}

function timeOf(date: Date, step: number): string {
  const [hours, minutes, seconds] = [date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits);
  if (step >= MINUTE) return `${hours}:${minutes}`;
  const whole = `${hours}:${minutes}:${seconds}`;
  return step >= SECOND ? whole : `${whole}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

function dayOf(date: Date): string {
  return `${date.getFullYear()}-${twoDigits(date.getMonth() + 1)}-${twoDigits(date.getDate())}`;
}

function twoDigits(value: number): string {
  return String(value).padStart(2, "0");
}
