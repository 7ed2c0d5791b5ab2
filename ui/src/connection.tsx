// Whether the server can be reached, as the watch connection of the open chat tells it.

import { useCallback, useEffect, useRef, useState } from "react";
import type { WatchStatus } from "../../src/perdure/web/aisdk.js";

/** A server that restarts is away for a moment; nobody need hear of that. */
const ALARM_AFTER_MS = 600;

/** How long the page says that it is back. */
const RELIEF_MS = 3000;

export type Connection = "online" | "offline" | "back";

export function useConnection(): [Connection, (status: WatchStatus) => void] {
  const [connection, setConnection] = useState<Connection>("online");
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const lost = useRef(false);

  const report = useCallback((status: WatchStatus) => {
    const isLost = status.state !== "connected";
    if (isLost === lost.current) return;
    lost.current = isLost;
    clearTimeout(timer.current);
    if (isLost) {
      timer.current = setTimeout(() => setConnection("offline"), ALARM_AFTER_MS);
      return;
    }
    setConnection((before) => (before === "offline" ? "back" : before));
    timer.current = setTimeout(() => setConnection("online"), RELIEF_MS);
  }, []);

  useEffect(() => () => clearTimeout(timer.current), []);
  return [connection, report];
}

export function ConnectionMark({ connection }: { connection: Connection }) {
  const offline = connection === "offline";
  return (
    <span className="connection" data-testid="connection" data-state={offline ? "offline" : "online"} role="status">
      {offline ? "Reconnecting" : "Connected"}
    </span>
  );
}

export function ConnectionBanner({ connection }: { connection: Connection }) {
  return (
    <div className="banner" data-connection={connection} aria-live="polite">
      {connection === "offline" && <p>Server unreachable — reconnecting…</p>}
      {connection === "back" && <p>The server is back.</p>}
    </div>
  );
}
