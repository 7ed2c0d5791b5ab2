// Where a reader of a replay goes on: the id of the last frame that it has seen.

/** One place in a log, shared by all that read for one client. It only ever moves forward. */
export class Cursor {
  value = undefined;
  #origin;

  /** A place of its own for one of several readers: it begins here, and moves this one on as it goes. */
  fork() {
    const own = new Cursor();
    own.value = this.value;
    own.#origin = this;
    return own;
  }

  /** Move to `place`, an id of a frame or a number; what is neither, or is behind, changes nothing. */
  advance(place) {
    const number = typeof place === "string" && /^[0-9]{1,16}$/.test(place) ? Number(place) : place;
    if (isPlace(number) && !(number <= this.value)) this.value = number;
    this.#origin?.advance(number);
  }
}

/** Whether `value` is a number that a cursor can have. */
export function isPlace(value) {
  return Number.isSafeInteger(value) && value >= 0;
}

/**
 * The URL of a replay from `cursor` on. To a string it is added as the query parameter `from`, in the place of one that is
 * there; the rest is left as it is written. A function decides by itself.
 */
export function urlAt(url, cursor) {
  if (typeof url === "function") return url(cursor);
  if (cursor === undefined) return url;
  const [, path, query, fragment] = /^([^?#]*)(?:\?([^#]*))?(#.*)?$/s.exec(String(url));
  const others = (query ?? "").split("&").filter((pair) => pair !== "" && pair !== "from" && !pair.startsWith("from="));
  return `${path}?${[...others, `from=${cursor}`].join("&")}${fragment ?? ""}`;
}
