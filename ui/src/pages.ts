// The pages of the demo. Those that are not built here are plain files of the server.

export const PAGES = [
  { kind: "aisdk", path: "/", name: "AI SDK" },
  { kind: "anthropic", path: "/anthropic", name: "Anthropic" },
  { kind: "tanstack", path: "/tanstack", name: "TanStack" },
  { kind: "agent", path: "/agent", name: "Agent" },
] as const;

export type PageKind = (typeof PAGES)[number]["kind"];

export function pageOf(kind: PageKind) {
  return PAGES.find((page) => page.kind === kind)!;
}
