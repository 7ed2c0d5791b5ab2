// Whether somebody may be looking at the page. A browser opens six HTTP/1.1 connections to one server, for all tabs
// together, so a tab that has been hidden for a while should give its own back.

/** Long enough for a glance at another tab. */
export const HIDDEN_MS = 5000;

/** Calls `onHidden` once the page has been hidden for a while. Gives a function that ends the looking. */
export function whenHidden(onHidden, page = globalThis.document) {
  let timer;
  const look = () => {
    clearTimeout(timer);
    if (isHidden(page)) timer = setTimeout(onHidden, HIDDEN_MS);
  };
  page?.addEventListener("visibilitychange", look);
  look();
  return () => {
    clearTimeout(timer);
    page?.removeEventListener("visibilitychange", look);
  };
}

/** Resolves when the page can be seen, or when aborted; at once where there is no page. */
export function untilSeen(signal, page = globalThis.document) {
  return new Promise((resolve) => {
    const look = () => {
      if (isHidden(page) && !signal?.aborted) return;
      page?.removeEventListener("visibilitychange", look);
      signal?.removeEventListener("abort", look);
      resolve();
    };
    page?.addEventListener("visibilitychange", look);
    signal?.addEventListener("abort", look);
    look();
  });
}

function isHidden(page) {
  return page?.visibilityState === "hidden";
}
