// What is shown is in the hash of the address, so every view is a link and survives a reload.

import { useSyncExternalStore } from "react";

export type AccountTab = "basins" | "plots";
export type BasinTab = "streams" | "plots" | "config";
export type StreamTab = "records" | "chat" | "timeline" | "plots" | "config";

export type Route =
  | { kind: "account"; tab: AccountTab }
  | { kind: "basin"; basin: string; tab: BasinTab }
  | { kind: "stream"; basin: string; stream: string; tab: StreamTab; seqNum?: number };

const ACCOUNT_TABS: readonly AccountTab[] = ["basins", "plots"];
const BASIN_TABS: readonly BasinTab[] = ["streams", "plots", "config"];
const STREAM_TABS: readonly StreamTab[] = ["records", "chat", "timeline", "plots", "config"];

/** `#/`, `#/basin` or `#/basin/stream`, each name percent-encoded, with `view` and `seq` as parameters. */
export function parseRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#/, "").split("?", 2);
  const parameters = new URLSearchParams(query);
  const [basin, stream] = path.split("/").slice(1).map(decoded);
  const view = parameters.get("view");
  if (!basin) return { kind: "account", tab: oneOf(ACCOUNT_TABS, view) };
  if (!stream) return { kind: "basin", basin, tab: oneOf(BASIN_TABS, view) };
  const seqNum = Number(parameters.get("seq") || NaN);
  const at = Number.isSafeInteger(seqNum) && seqNum >= 0 ? { seqNum } : {};
  return { kind: "stream", basin, stream, tab: oneOf(STREAM_TABS, view), ...at };
}

export function hrefOf(route: Route): string {
  const names = route.kind === "account" ? [] : route.kind === "basin" ? [route.basin] : [route.basin, route.stream];
  const parameters = new URLSearchParams();
  const [first] = { account: ACCOUNT_TABS, basin: BASIN_TABS, stream: STREAM_TABS }[route.kind];
  if (route.tab !== first) parameters.set("view", route.tab);
  if (route.kind === "stream" && route.seqNum !== undefined) parameters.set("seq", String(route.seqNum));
  return `#/${names.map(encodeURIComponent).join("/")}${parameters.size ? `?${parameters}` : ""}`;
}

export function useRoute(): Route {
  return parseRoute(useSyncExternalStore(subscribe, () => location.hash));
}

export function goTo(route: Route): void {
  location.hash = hrefOf(route);
}

/** Without an entry in the history: for what changes at every key, such as the chosen record. */
export function replaceRoute(route: Route): void {
  const href = hrefOf(route);
  if (href === location.hash) return;
  history.replaceState(null, "", href);
  window.dispatchEvent(new HashChangeEvent("hashchange"));
}

function subscribe(changed: () => void): () => void {
  window.addEventListener("hashchange", changed);
  return () => window.removeEventListener("hashchange", changed);
}

function oneOf<T extends string>(tabs: readonly T[], wanted: string | null): T {
  return tabs.find((tab) => tab === wanted) ?? tabs[0]!;
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment; // typed by hand
  }
}
