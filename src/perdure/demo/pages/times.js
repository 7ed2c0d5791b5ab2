// Times as people say them.

/** How long ago a time in milliseconds was. */
export function timeAgo(time) {
  const minutes = Math.round((Date.now() - time) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 24 * 60) return `${Math.round(minutes / 60)} h ago`;
  return new Date(time).toLocaleDateString(undefined, { day: "numeric", month: "short" });
}

/** A time of the day, to the millisecond. */
export function clock(time) {
  return new Date(time).toISOString().slice(11, 23);
}
