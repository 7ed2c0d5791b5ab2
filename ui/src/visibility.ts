import { useEffect, useState } from "react";

/** Long enough for a glance at another tab. */
const GRACE_MS = 5_000;

/**
 * Whether somebody may be looking. A browser opens six HTTP/1.1 connections to one server for all its tabs together,
 * so a tab that has been hidden for a while gives its own back, and catches up when it is shown again.
 */
export function useVisible(): boolean {
  const [visible, setVisible] = useState(true);

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const onChange = () => {
      clearTimeout(timer);
      if (document.hidden) timer = setTimeout(() => setVisible(false), GRACE_MS);
      else setVisible(true);
    };
    onChange();
    document.addEventListener("visibilitychange", onChange);
    return () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", onChange);
    };
  }, []);

  return visible;
}
