// Numbers, sizes and times, as people read them.

const COUNT = new Intl.NumberFormat("en");
const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];
const DATE_TIME = new Intl.DateTimeFormat("sv", {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

export function formatCount(value: number): string {
  return COUNT.format(value);
}

export function formatBytes(value: number): string {
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${unit === 0 && value === 1 ? "byte" : UNITS[unit]}`;
}

/** Local time to the millisecond, such as `2026-03-01 14:05:09.120`; a number that is no time stays a number. */
export function formatTime(milliseconds: number): string {
  const date = new Date(milliseconds);
  if (Number.isNaN(date.getTime())) return formatCount(milliseconds);
  return `${DATE_TIME.format(date)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** Such as `3 min ago`, or `in 2 h` for what lies ahead. */
export function formatRelative(milliseconds: number, now: number): string {
  const age = now - milliseconds;
  if (Math.abs(age) < 1_000) return "now";
  const text = formatDuration(Math.abs(age));
  return age > 0 ? `${text} ago` : `in ${text}`;
}

/** One unit and its number, such as `12 s`, `5 min`, `3 d`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 1_000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1_000;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`;
  return `${formatCount(Math.floor(seconds / 86_400))} d`;
}
