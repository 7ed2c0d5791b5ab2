import type { ReactNode } from "react";
import { ApiError } from "./api/errors";

/** What went wrong, in the words of the server, and a way to try again. */
export function Problem({ error, retry, children }: { error: unknown; retry?: () => void; children?: ReactNode }) {
  const { title, detail, code } = described(error);
  return (
    <div className="problem" role="alert">
      <p className="problem-title">{title}</p>
      <p>
        {detail} {code && <code>{code}</code>}
      </p>
      {children}
      {retry && (
        <button className="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

function described(error: unknown): { title: string; detail: string; code: string } {
  if (!(error instanceof ApiError)) {
    return { title: "This page has a fault", detail: error instanceof Error ? error.message : String(error), code: "" };
  }
  return { title: titleOf(error), detail: error.message, code: error.status === 0 ? "" : `${error.status} ${error.code}`.trim() };
}

function titleOf({ status, wantsToken, isForbidden }: ApiError): string {
  if (status === 0) return "Not connected";
  if (wantsToken) return "An access token is needed";
  if (isForbidden) return "Your access token does not allow this";
  if (status === 404) return "Not found";
  if (status === 409) return "Not possible now";
  if (status === 412) return "The condition does not hold";
  if (status >= 500) return "The server failed";
  return "Refused";
}
