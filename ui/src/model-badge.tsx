import type { ServerInfo } from "./server";

export function ModelBadge({ info }: { info: ServerInfo | undefined }) {
  if (!info) return null;
  const { name, kind, note } = info.model;
  return (
    <span className="model-badge" data-testid="model" data-kind={kind} title={note}>
      {kind === "stand-in" ? "Local stand-in, no AI" : name}
    </span>
  );
}
