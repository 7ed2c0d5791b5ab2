import { useEffect, useState } from "react";
import { getInfo, type ServerInfo } from "./server";

/** What the server says about itself; undefined until it has. */
export function useInfo(): ServerInfo | undefined {
  const [info, setInfo] = useState<ServerInfo>();

  useEffect(() => {
    getInfo().then(setInfo, () => {});
  }, []);

  return info;
}
