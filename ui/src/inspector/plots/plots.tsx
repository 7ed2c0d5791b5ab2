import type { StoreClient } from "../api/client";
import type { MetricScope } from "../api/types";

export type PlotScope = MetricScope;

export function Plots({ scope }: { client: StoreClient; scope: PlotScope }) {
  return <p className="empty">Nothing was measured in this {scope.kind}.</p>;
}
