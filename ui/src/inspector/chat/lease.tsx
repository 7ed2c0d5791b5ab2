import { useEffect, useState } from "react";
import { formatDuration } from "../format";
import type { Generation } from "./generation";

/** The time, again every so often while somebody needs it. The store's clock may be ahead of this one. */
export function useNow(everyMs: number | undefined, atLeast: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (everyMs === undefined) return;
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return Math.max(now, atLeast);
}

/** What is left of the lease of a generation that nobody has ended. */
export function Lease({ generation, now }: { generation: Generation; now: number }) {
  const { claim, leaseEnds, last, renewals } = generation;
  if (claim?.leaseMs === undefined || leaseEnds === undefined) {
    return <p className="lease">Offers no lease: after a crash it stays claimed until somebody stops it.</p>;
  }
  const leftMs = leaseEnds - now;
  const share = Math.max(0, Math.min(1, leftMs / claim.leaseMs));
  return (
    <div className="lease" data-over={leftMs <= 0 || undefined}>
      <p role="timer" aria-live="off">
        {leftMs > 0 ? (
          <>
            <b>{Math.ceil(leftMs / 1000)} s</b> left of {formatDuration(claim.leaseMs)}
          </>
        ) : (
          <>
            expired <b>{formatDuration(-leftMs)}</b> ago
          </>
        )}
      </p>
      <span className="lease-bar" aria-hidden="true">
        <span style={{ transform: `scaleX(${share})` }} />
      </span>
      <p className="soft">
        last heard of {formatDuration(Math.max(0, now - last.timestamp))} ago
        {renewals > 0 && `, ${renewals} ${renewals === 1 ? "renewal" : "renewals"}`}
      </p>
    </div>
  );
}
