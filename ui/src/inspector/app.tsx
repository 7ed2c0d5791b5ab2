import { useCallback, useEffect, useMemo, useState } from "react";
import { useAbout } from "./about";
import { StoreClient } from "./api/client";
import { BasinView } from "./basin-view";
import { Boundary } from "./boundary";
import { Help } from "./help";
import { BasinsPage } from "./lists/basins-page";
import { Plots } from "./plots/plots";
import { goTo, hrefOf, type Route, useRoute } from "./route";
import { storedToken, storeToken } from "./session";
import { useShortcuts } from "./shortcuts";
import { StreamView } from "./stream-view";
import { Tabs } from "./tabs";
import { TokenWall } from "./token-wall";
import { TopBar } from "./top-bar";

export function App() {
  const route = useRoute();
  const about = useAbout();
  const [token, setToken] = useState(storedToken);
  const [walled, setWalled] = useState(false);
  const [helping, setHelping] = useState(false);
  const onUnauthorized = useCallback(() => setWalled(true), []);
  const client = useMemo(() => new StoreClient(token, onUnauthorized), [token, onUnauthorized]);

  const useToken = (given: string | undefined) => {
    storeToken(given);
    setToken(given);
    setWalled(false);
  };

  useEffect(() => {
    document.title = [nameOf(route), "Perdure"].filter(Boolean).join(" · ");
  }, [route]);

  useShortcuts({
    "?": () => setHelping(true),
    u: () => goTo(above(route)),
    ...Object.fromEntries([1, 2, 3, 4, 5].map((number) => [String(number), () => openTab(number)])),
  });

  if (walled) return <TokenWall refused={token !== undefined} onToken={useToken} />;
  return (
    <div className="app">
      <TopBar
        route={route}
        about={about}
        hasToken={token !== undefined}
        onForget={() => useToken(undefined)}
        onHelp={() => setHelping(true)}
      />
      <main className="main">
        <h1 className="hidden">{nameOf(route) || "Basins"}</h1>
        <Boundary showing={hrefOf(route)}>
          <Main key={token} route={route} client={client} />
        </Boundary>
      </main>
      {helping && <Help onClose={() => setHelping(false)} />}
    </div>
  );
}

function Main({ route, client }: { route: Route; client: StoreClient }) {
  switch (route.kind) {
    case "account":
      return (
        <>
          <Tabs
            label="Views of the account"
            current={route.tab}
            tabs={[
              { name: "basins", label: "Basins", route: { kind: "account", tab: "basins" } },
              { name: "plots", label: "Usage", route: { kind: "account", tab: "plots" } },
            ]}
          />
          {route.tab === "basins" ? <BasinsPage client={client} /> : <Plots client={client} scope={{ kind: "account" }} />}
        </>
      );
    case "basin":
      return <BasinView key={route.basin} client={client} basin={route.basin} tab={route.tab} />;
    case "stream":
      return <StreamView key={`${route.basin}/${route.stream}`} client={client} route={route} />;
  }
}

function nameOf(route: Route): string {
  return route.kind === "account" ? "" : route.kind === "basin" ? route.basin : `${route.stream} · ${route.basin}`;
}

function above(route: Route): Route {
  if (route.kind === "stream") return { kind: "basin", basin: route.basin, tab: "streams" };
  return { kind: "account", tab: "basins" };
}

function openTab(number: number): void {
  document.querySelector<HTMLAnchorElement>(`.tabs a:nth-of-type(${number})`)?.click();
}
