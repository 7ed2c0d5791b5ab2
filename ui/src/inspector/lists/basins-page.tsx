import { useCallback, useState } from "react";
import type { StoreClient } from "../api/client";
import type { BasinInfo, Cipher, ListQuery } from "../api/types";
import { Dialog } from "../dialog";
import { DeleteDialog } from "./delete-dialog";
import { NamesPage } from "./names-page";

export function BasinsPage({ client }: { client: StoreClient }) {
  const list = useCallback((query: ListQuery, signal: AbortSignal) => client.listBasins(query, signal), [client]);
  return (
    <NamesPage<BasinInfo>
      what="basins"
      singular="basin"
      list={list}
      routeOf={(basin) => ({ kind: "basin", basin, tab: "streams" })}
      mark={({ location }) => location !== null && <span className="chip">{location}</span>}
      nothing={
        <>
          <p className="empty-title">There is no basin yet.</p>
          <p>A basin is a named set of streams. Create one, and streams in it.</p>
        </>
      }
      createDialog={(close) => <CreateBasin client={client} onClose={close} />}
      deleteDialog={({ name }, close) => (
        <DeleteDialog
          name={name}
          warning="All of its streams go with it, and every record in them."
          act={() => client.deleteBasin(name)}
          onClose={close}
        />
      )}
    />
  );
}

function CreateBasin({ client, onClose }: { client: StoreClient; onClose: (created?: string) => void }) {
  const [name, setName] = useState("");
  const [cipher, setCipher] = useState<Cipher | "">("");
  const [onAppend, setOnAppend] = useState(false);
  const create = async () => {
    await client.createBasin(name, { stream_cipher: cipher || null, create_stream_on_append: onAppend });
    onClose(name);
  };
  return (
    <Dialog title="New basin" action="Create" disabled={!name} onSubmit={create} onClose={onClose}>
      <label className="field">
        <span>Name</span>
        <input value={name} autoFocus spellCheck={false} autoComplete="off" onChange={(event) => setName(event.target.value)} />
        <small>8 to 48 of a–z, 0–9 and hyphens, the first and the last no hyphen</small>
      </label>
      <label className="field">
        <span>Encryption of its streams</span>
        <select value={cipher} onChange={(event) => setCipher(event.target.value as Cipher | "")}>
          <option value="">none</option>
          <option value="aegis-256">AEGIS-256</option>
          <option value="aes-256-gcm">AES-256-GCM</option>
        </select>
        {cipher && <small>Readers and writers bring the key; the store keeps none.</small>}
      </label>
      <label className="tick">
        <input type="checkbox" checked={onAppend} onChange={(event) => setOnAppend(event.target.checked)} />
        <span>Create a stream when somebody first appends to it</span>
      </label>
    </Dialog>
  );
}
