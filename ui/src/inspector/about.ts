// What the server says of itself to this page, without a token.

import { useEffect, useState } from "react";

export interface About {
  version: string;
  /** What is inspected, as its owner named it on the command line; absent on a server. */
  store?: string;
}

export function useAbout(): About | undefined {
  const [about, setAbout] = useState<About>();
  useEffect(() => {
    const leaving = new AbortController();
    fetch("/ui/about.json", { signal: leaving.signal })
      .then((response) => response.json())
      .then(setAbout, () => {}); // it is decoration: whatever is wrong shows where data is missing
    return () => leaving.abort();
  }, []);
  return about;
}
