import { useCallback } from "react";
import type { StoreClient } from "./api/client";
import { basinSections, ConfigView } from "./config-view";
import { StreamsPage } from "./lists/streams-page";
import { Plots } from "./plots/plots";
import type { BasinTab } from "./route";
import { Tabs } from "./tabs";

export function BasinView({ client, basin, tab }: { client: StoreClient; basin: string; tab: BasinTab }) {
  const load = useCallback((signal: AbortSignal) => client.getBasinConfig(basin, signal), [client, basin]);
  return (
    <>
      <Tabs
        label="Views of the basin"
        current={tab}
        tabs={[
          { name: "streams", label: "Streams", route: { kind: "basin", basin, tab: "streams" } },
          { name: "plots", label: "Usage", route: { kind: "basin", basin, tab: "plots" } },
          { name: "config", label: "Settings", route: { kind: "basin", basin, tab: "config" } },
        ]}
      />
      {tab === "streams" && <StreamsPage client={client} basin={basin} />}
      {tab === "plots" && <Plots client={client} scope={{ kind: "basin", basin }} />}
      {tab === "config" && <ConfigView load={load} sectionsOf={basinSections} />}
    </>
  );
}
