import { useMemo, useState } from "react";
import { toBase64 } from "../api/coding";
import type { StreamRecord } from "../api/types";
import { commandOf, jsonOf, label, meteredBytes, textOf } from "../decode";
import { formatBytes, formatCount, formatRelative, formatTime } from "../format";
import { Copy, Cross } from "../icons";
import { Segments } from "../segments";
import { HexView } from "./hex-view";
import { JsonView } from "./json-view";
import { isBinary, trimPoint } from "./record-cells";
import { recordJson } from "./record-json";

type BodyForm = "json" | "text" | "hex" | "base64";

interface RecordDetailsProps {
  record: StreamRecord;
  now: number;
  onClose: () => void;
}

/** All of one record. */
export function RecordDetails({ record, now, onClose }: RecordDetailsProps) {
  const { seqNum, timestamp, headers, body } = record;
  const command = commandOf(record);
  return (
    <aside className="details" aria-label={`Record ${seqNum}`}>
      <header>
        <h2>
          Record <span className="seq">{formatCount(seqNum)}</span>
        </h2>
        <CopyJson record={record} />
        <button className="quiet" aria-label="Close the record" title="Close (Esc)" onClick={onClose}>
          <Cross />
        </button>
      </header>
      <dl className="record-facts">
        <div>
          <dt>Timestamp</dt>
          <dd>
            {formatTime(timestamp)} <span className="soft">{formatRelative(timestamp, now)}</span>
          </dd>
        </div>
        <div>
          <dt>Size</dt>
          <dd>
            {formatBytes(meteredBytes(record))} metered, <span className="soft">body {formatBytes(body.length)}</span>
          </dd>
        </div>
        {command?.kind === "fence" && (
          <div>
            <dt>Fence</dt>
            <dd>
              {command.token === "" ? (
                "Clears the fencing token: an append that names none, or the empty one, is taken."
              ) : (
                <>
                  From here on, the fencing token is <code>{command.token}</code>.
                </>
              )}
            </dd>
          </div>
        )}
        {command?.kind === "trim" && (
          <div>
            <dt>Trim</dt>
            <dd>Records before {trimPoint(command.before)} may go.</dd>
          </div>
        )}
      </dl>
      {!command && headers.length > 0 && (
        <section>
          <h3>Headers</h3>
          <dl className="record-headers">
            {headers.map(({ name, value }, index) => (
              <div key={index}>
                <dt>{label(name)}</dt>
                <dd>{value.length === 0 ? <span className="soft">empty</span> : label(value)}</dd>
              </div>
            ))}
          </dl>
        </section>
      )}
      {!command && <Body key={seqNum} body={body} />}
    </aside>
  );
}

function Body({ body }: { body: Uint8Array }) {
  const text = useMemo(() => textOf(body), [body]);
  const isJson = useMemo(() => jsonOf(body) !== undefined, [body]);
  const best: BodyForm = isJson ? "json" : text !== undefined && !isBinary(text) ? "text" : "hex";
  const [form, setForm] = useState<BodyForm>(best);
  if (body.length === 0) return <p className="soft">The body is empty.</p>;
  return (
    <section className="body-section">
      <div className="body-head">
        <h3>Body</h3>
        <Segments<BodyForm>
          label="How the body is shown"
          value={form}
          onChange={setForm}
          options={[
            { value: "json", label: "JSON", disabled: !isJson },
            { value: "text", label: "Text", disabled: text === undefined },
            { value: "hex", label: "Hex" },
            { value: "base64", label: "Base64" },
          ]}
        />
      </div>
      {form === "json" && <JsonView json={text!} />}
      {form === "text" && <pre className="body">{text}</pre>}
      {form === "hex" && <HexView bytes={body} />}
      {form === "base64" && <pre className="body breaking">{toBase64(body)}</pre>}
    </section>
  );
}

function CopyJson({ record }: { record: StreamRecord }) {
  const [copied, setCopied] = useState<StreamRecord>();
  const copy = async () => {
    await navigator.clipboard.writeText(recordJson(record));
    setCopied(record);
  };
  if (!window.isSecureContext) return null; // browsers keep the clipboard from pages without TLS
  return (
    <button className="button small" data-copy title="Copy as JSON (y)" onClick={copy}>
      <Copy /> <span aria-live="polite">{copied === record ? "Copied" : "Copy JSON"}</span>
    </button>
  );
}
