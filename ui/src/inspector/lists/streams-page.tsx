import { useCallback, useState } from "react";
import type { StoreClient } from "../api/client";
import type { ListQuery, StreamConfig, StreamInfo } from "../api/types";
import { Dialog } from "../dialog";
import { Lock } from "../icons";
import { DeleteDialog } from "./delete-dialog";
import { NamesPage } from "./names-page";

export function StreamsPage({ client, basin }: { client: StoreClient; basin: string }) {
  const list = useCallback(
    (query: ListQuery, signal: AbortSignal) => client.listStreams(basin, query, signal),
    [client, basin],
  );
  return (
    <NamesPage<StreamInfo>
      what="streams"
      singular="stream"
      list={list}
      routeOf={(stream) => ({ kind: "stream", basin, stream, tab: "records" })}
      mark={({ cipher }) =>
        cipher !== null && (
          <span className="chip">
            <Lock /> {cipher}
          </span>
        )
      }
      nothing={
        <>
          <p className="empty-title">There is no stream in this basin.</p>
          <p>A stream is a list of records that grows at its end. Whoever appends to it can create it, too.</p>
        </>
      }
      createDialog={(close) => <CreateStream client={client} basin={basin} onClose={close} />}
      deleteDialog={({ name }, close) => (
        <DeleteDialog
          name={name}
          warning="All of its records go with it."
          act={() => client.deleteStream({ basin, stream: name })}
          onClose={close}
        />
      )}
    />
  );
}

const DAY_SECS = 86_400;

function CreateStream({ client, basin, onClose }: { client: StoreClient; basin: string; onClose: (name?: string) => void }) {
  const [name, setName] = useState("");
  const [keep, setKeep] = useState<"default" | "days" | "forever">("default");
  const [days, setDays] = useState("7");
  const create = async () => {
    const config: StreamConfig = {};
    if (keep === "days") config.retention_policy = { age: Math.round(Number(days) * DAY_SECS) };
    if (keep === "forever") config.retention_policy = { infinite: {} };
    await client.createStream(basin, name, config);
    onClose(name);
  };
  return (
    <Dialog
      title="New stream"
      action="Create"
      disabled={!name || (keep === "days" && !(Number(days) > 0))}
      onSubmit={create}
      onClose={onClose}
    >
      <label className="field">
        <span>Name</span>
        <input value={name} autoFocus spellCheck={false} autoComplete="off" onChange={(event) => setName(event.target.value)} />
        <small>Up to 512 bytes of any characters, such as chats/42</small>
      </label>
      <label className="field">
        <span>Records are kept</span>
        <select value={keep} onChange={(event) => setKeep(event.target.value as typeof keep)}>
          <option value="default">as the basin says</option>
          <option value="days">for some days</option>
          <option value="forever">until they are trimmed</option>
        </select>
      </label>
      {keep === "days" && (
        <label className="field">
          <span>Days</span>
          <input value={days} inputMode="decimal" onChange={(event) => setDays(event.target.value)} />
        </label>
      )}
    </Dialog>
  );
}
