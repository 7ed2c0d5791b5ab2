import { useState } from "react";
import type { StoreClient } from "../api/client";
import type { StreamRef } from "../api/types";
import { fenceRecord, trimRecord } from "../decode";
import { Dialog } from "../dialog";
import { formatCount } from "../format";

interface CommandDialogProps {
  client: StoreClient;
  stream: StreamRef;
  first: number;
  tail: number;
  onClose: (appended?: number) => void;
}

export function FenceDialog({ client, stream, onClose }: CommandDialogProps) {
  const [token, setToken] = useState("");
  const [current, setCurrent] = useState("");
  const fence = async () => {
    const condition = current === "" ? {} : { fencingToken: current };
    onClose((await client.append(stream, { records: [fenceRecord(token)], ...condition })).start.seqNum);
  };
  return (
    <Dialog title="Fence the stream" action={token === "" ? "Clear the fence" : "Fence"} onSubmit={fence} onClose={() => onClose()}>
      <p>
        Appends that name another fencing token are refused from then on. Those that name none are still taken: fencing is
        an agreement among writers.
      </p>
      <label className="field">
        <span>New fencing token</span>
        <input value={token} autoFocus spellCheck={false} placeholder="empty: no fence" onChange={(event) => setToken(event.target.value)} />
      </label>
      <label className="field">
        <span>Only if the token is now</span>
        <input value={current} spellCheck={false} placeholder="whatever it is" onChange={(event) => setCurrent(event.target.value)} />
      </label>
    </Dialog>
  );
}

export function TrimDialog({ client, stream, first, tail, selected, onClose }: CommandDialogProps & { selected?: number | undefined }) {
  const [before, setBefore] = useState(selected === undefined ? "" : String(selected));
  const point = before.trim() === "" ? NaN : Number(before);
  const isPoint = Number.isSafeInteger(point) && point > first;
  const gone = isPoint ? Math.min(point, tail) - first : 0;
  const trim = async () => {
    onClose((await client.append(stream, { records: [trimRecord(point)] })).start.seqNum);
  };
  return (
    <Dialog
      title="Trim the stream"
      action={gone > 0 ? `Delete ${formatCount(gone)} record${gone === 1 ? "" : "s"}` : "Trim"}
      danger
      disabled={!isPoint}
      onSubmit={trim}
      onClose={() => onClose()}
    >
      <p>Records before the point are deleted for good. Those that are left keep their sequence numbers.</p>
      <label className="field">
        <span>Keep from sequence number</span>
        <input value={before} autoFocus inputMode="numeric" onChange={(event) => setBefore(event.target.value)} />
        <small>
          {tail > first ? `Kept now: ${formatCount(first)} to ${formatCount(tail - 1)}` : "Nothing is kept now"}
        </small>
      </label>
    </Dialog>
  );
}
