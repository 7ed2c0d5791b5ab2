import type { ModelInfo } from "./server";

export function ModelBadge({ model }: { model: ModelInfo | undefined }) {
  if (!model) return null;
  const { name, kind, note } = model;
  return (
    <span className="model-badge" data-testid="model" data-kind={kind} title={note}>
      {kind === "stand-in" ? "Local stand-in, no AI" : name}
    </span>
  );
}
