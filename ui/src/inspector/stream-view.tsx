import { useCallback, useMemo, useState } from "react";
import type { StoreClient } from "./api/client";
import type { StreamRef } from "./api/types";
import { ChatView } from "./chat/chat-view";
import { ConfigView, streamSections } from "./config-view";
import { Plots } from "./plots/plots";
import { RecordsView } from "./records/records-view";
import { goTo, type Route, type StreamTab } from "./route";
import { storedKey, storeKey } from "./session";
import { Tabs } from "./tabs";
import { Timeline } from "./timeline/timeline";

type StreamRoute = Extract<Route, { kind: "stream" }>;

const TABS: readonly [StreamTab, string][] = [
  ["records", "Records"],
  ["chat", "Chat"],
  ["timeline", "Time line"],
  ["plots", "Storage"],
  ["config", "Settings"],
];

export function StreamView({ client, route }: { client: StoreClient; route: StreamRoute }) {
  const { basin, stream, tab } = route;
  const [encryptionKey, setKey] = useState(() => storedKey(basin, stream));
  const ref = useMemo<StreamRef>(
    () => ({ basin, stream, ...(encryptionKey === undefined ? {} : { encryptionKey }) }),
    [basin, stream, encryptionKey],
  );
  const load = useCallback((signal: AbortSignal) => client.getStreamConfig(ref, signal), [client, ref]);
  const openRecord = (seqNum: number) => goTo({ kind: "stream", basin, stream, tab: "records", seqNum });
  const useKey = (key: string) => {
    storeKey(basin, stream, key);
    setKey(key);
  };
  return (
    <>
      <Tabs
        label="Views of the stream"
        current={tab}
        tabs={TABS.map(([name, label]) => ({ name, label, route: { kind: "stream", basin, stream, tab: name } }))}
      />
      {tab === "records" && (
        <RecordsView key={encryptionKey} client={client} stream={ref} seqNum={route.seqNum} onKey={useKey} />
      )}
      {tab === "chat" && <ChatView key={encryptionKey} client={client} stream={ref} openRecord={openRecord} />}
      {tab === "timeline" && <Timeline key={encryptionKey} client={client} stream={ref} openRecord={openRecord} />}
      {tab === "plots" && <Plots client={client} scope={{ kind: "stream", basin, stream }} />}
      {tab === "config" && <ConfigView load={load} sectionsOf={streamSections} />}
    </>
  );
}
