import { type FormEvent, useState } from "react";
import { fromBase64 } from "../api/coding";
import { Lock } from "../icons";

const KEY_BYTES = 32;

/** Asks for the key of an encrypted stream. `refused`: the one that was given does not open it. */
export function KeyForm({ refused, onKey }: { refused: boolean; onKey: (key: string) => void }) {
  const [key, setKey] = useState("");
  const [told, setTold] = useState(false);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (isKey(key.trim())) onKey(key.trim());
    else setTold(true);
  };
  return (
    <div className="empty">
      <form className="key-form" onSubmit={submit}>
        <Lock />
        <p className="empty-title">This stream is encrypted</p>
        <p>
          The store keeps no key. With the one that its writers use, its records can be read here; it stays in this tab,
          goes to the server with each read, and is forgotten when you close the tab.
        </p>
        <label className="field">
          <span>Key, 32 bytes in base64</span>
          <input
            className="code"
            type="password"
            autoComplete="off"
            autoFocus
            value={key}
            onChange={(event) => setKey(event.target.value)}
          />
        </label>
        {told && !isKey(key.trim()) && <p role="alert">This is not base64 of 32 bytes.</p>}
        {refused && <p role="alert">Its records cannot be read with the key that was given.</p>}
        <button className="button primary">Show the records</button>
      </form>
    </div>
  );
}

function isKey(text: string): boolean {
  try {
    return fromBase64(text).length === KEY_BYTES;
  } catch {
    return false;
  }
}
