import { useState } from "react";
import { fromBase64 } from "../api/coding";
import type { StoreClient } from "../api/client";
import type { AppendInput, Header, StreamRef } from "../api/types";
import { Dialog } from "../dialog";
import { Cross, Plus } from "../icons";
import { Segments } from "../segments";

type BodyKind = "text" | "json" | "base64";

interface AppendDialogProps {
  client: StoreClient;
  stream: StreamRef;
  /** Undefined while it is not known. */
  tail: number | undefined;
  onClose: (appended?: number) => void;
}

const UTF8 = new TextEncoder();

/** One record, with the conditions of an append. */
export function AppendDialog({ client, stream, tail, onClose }: AppendDialogProps) {
  const [kind, setKind] = useState<BodyKind>("json");
  const [body, setBody] = useState("");
  const [headers, setHeaders] = useState<[string, string][]>([]);
  const [match, setMatch] = useState("");
  const [token, setToken] = useState("");
  const [isFenced, setFenced] = useState(false);
  const wrong = wrongBody(kind, body);
  const matchSeqNum = match.trim() === "" ? undefined : Number(match);
  const wrongMatch = matchSeqNum !== undefined && !(Number.isSafeInteger(matchSeqNum) && matchSeqNum >= 0);

  const append = async () => {
    const input: AppendInput = {
      records: [{ headers: headers.filter(([name]) => name !== "").map(encoded), body: bytesOf(kind, body) }],
      ...(matchSeqNum === undefined ? {} : { matchSeqNum }),
      ...(isFenced ? { fencingToken: token } : {}),
    };
    onClose((await client.append(stream, input)).start.seqNum);
  };
  const setHeader = (index: number, header: [string, string]) => setHeaders(headers.with(index, header));

  return (
    <Dialog
      title="Append a record"
      action="Append"
      wide
      disabled={wrong !== undefined || wrongMatch}
      onSubmit={append}
      onClose={() => onClose()}
    >
      <div className="field">
        <div className="body-head">
          <label htmlFor="append-body">Body</label>
          <Segments<BodyKind>
            label="What the body is"
            value={kind}
            onChange={setKind}
            options={[
              { value: "json", label: "JSON" },
              { value: "text", label: "Text" },
              { value: "base64", label: "Base64" },
            ]}
          />
        </div>
        <textarea
          id="append-body"
          rows={7}
          autoFocus
          spellCheck={false}
          value={body}
          aria-invalid={wrong !== undefined}
          aria-describedby="append-body-wrong"
          onChange={(event) => setBody(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.form?.requestSubmit();
          }}
        />
        <small id="append-body-wrong" role="status">
          {wrong ?? "Ctrl Enter appends."}
        </small>
      </div>
      <div className="field">
        <span>Headers</span>
        {headers.map(([name, value], index) => (
          <div className="header-line" key={index}>
            <input
              aria-label={`Name of header ${index + 1}`}
              placeholder="name"
              value={name}
              onChange={(event) => setHeader(index, [event.target.value, value])}
            />
            <input
              aria-label={`Value of header ${index + 1}`}
              placeholder="value"
              value={value}
              onChange={(event) => setHeader(index, [name, event.target.value])}
            />
            <button
              type="button"
              className="quiet"
              aria-label={`Remove header ${index + 1}`}
              onClick={() => setHeaders(headers.toSpliced(index, 1))}
            >
              <Cross />
            </button>
          </div>
        ))}
        <div>
          <button type="button" className="button small" onClick={() => setHeaders([...headers, ["", ""]])}>
            <Plus /> Header
          </button>
        </div>
      </div>
      <div className="two">
        <label className="field">
          <span>Only as sequence number</span>
          <input
            value={match}
            inputMode="numeric"
            placeholder={tail === undefined ? "any" : `any (the next is ${tail})`}
            aria-invalid={wrongMatch}
            onChange={(event) => setMatch(event.target.value)}
          />
        </label>
        <label className="field">
          <span>Only under the fencing token</span>
          <input
            value={token}
            placeholder={isFenced ? "the empty one" : "any"}
            spellCheck={false}
            onChange={(event) => {
              setToken(event.target.value);
              setFenced(true);
            }}
          />
          {isFenced && (
            <small>
              <button type="button" className="link" onClick={() => (setToken(""), setFenced(false))}>
                Ask for none
              </button>
            </small>
          )}
        </label>
      </div>
    </Dialog>
  );
}

function encoded([name, value]: [string, string]): Header {
  return { name: UTF8.encode(name), value: UTF8.encode(value) };
}

function bytesOf(kind: BodyKind, body: string): Uint8Array {
  return kind === "base64" ? fromBase64(body.trim()) : UTF8.encode(body);
}

function wrongBody(kind: BodyKind, body: string): string | undefined {
  if (kind === "text" || body === "") return undefined;
  try {
    if (kind === "json") JSON.parse(body);
    else fromBase64(body.trim());
    return undefined;
  } catch (error) {
    return kind === "json" ? `Not JSON yet: ${error instanceof Error ? error.message : error}` : "Not base64 yet.";
  }
}
