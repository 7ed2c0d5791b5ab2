import { type FormEvent, useState } from "react";

/** What stands before everything else while the server wants an access token. */
export function TokenWall({ refused, onToken }: { refused: boolean; onToken: (token: string) => void }) {
  const [token, setToken] = useState("");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (token.trim()) onToken(token.trim());
  };
  return (
    <main className="wall">
      <form onSubmit={submit}>
        <h1>This store wants an access token</h1>
        <p>
          What the token allows is what you can see and do here. It stays in this tab, and is forgotten when you close the
          tab.
        </p>
        <label className="field">
          <span>Access token</span>
          <input
            type="password"
            autoComplete="off"
            autoFocus
            spellCheck={false}
            value={token}
            onChange={(event) => setToken(event.target.value)}
          />
        </label>
        {refused && (
          <p className="refused" role="alert">
            The server does not take this token: it is not known here, expired or was revoked.
          </p>
        )}
        <button className="button primary" disabled={!token.trim()}>
          Go on
        </button>
      </form>
    </main>
  );
}
