import type { About } from "./about";
import { Key, Question } from "./icons";
import { hrefOf, type Route } from "./route";

interface TopBarProps {
  route: Route;
  about: About | undefined;
  hasToken: boolean;
  onForget: () => void;
  onHelp: () => void;
}

/** Where one is, from the account down, each step a link. */
export function TopBar({ route, about, hasToken, onForget, onHelp }: TopBarProps) {
  return (
    <header className="top-bar">
      <a className="wordmark" href={hrefOf({ kind: "account", tab: "basins" })} aria-label="Perdure, all basins">
        <img src="/ui/assets/favicon.svg" alt="" width="24" height="24" />
        <span>Perdure</span>
      </a>
      <nav aria-label="Where you are">
        <ol className="crumbs">
          <li>
            <a href={hrefOf({ kind: "account", tab: "basins" })} aria-current={route.kind === "account" ? "page" : undefined}>
              Basins
            </a>
          </li>
          {route.kind !== "account" && (
            <li>
              <a
                href={hrefOf({ kind: "basin", basin: route.basin, tab: "streams" })}
                aria-current={route.kind === "basin" ? "page" : undefined}
              >
                {route.basin}
              </a>
            </li>
          )}
          {route.kind === "stream" && (
            <li>
              <a href={hrefOf({ ...route, tab: "records" })} aria-current="page">
                {route.stream}
              </a>
            </li>
          )}
        </ol>
      </nav>
      {about && (
        <span className="about" title={about.store ?? ""}>
          {about.store ? `${about.store} · ` : ""}
          {about.version}
        </span>
      )}
      {hasToken && (
        <button className="button small" onClick={onForget} title="Forget the access token of this tab">
          <Key /> <span>Forget token</span>
        </button>
      )}
      <button className="quiet" aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)" onClick={onHelp}>
        <Question />
      </button>
    </header>
  );
}
