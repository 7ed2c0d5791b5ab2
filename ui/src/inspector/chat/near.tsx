import { type ReactNode, type RefObject, useEffect, useRef, useState } from "react";

/** How far outside of the window things are drawn already. */
const MARGIN = "1200px 0px";

interface NearProps {
  root: RefObject<HTMLElement | null>;
  /** Whether to draw it wherever it is. */
  always: boolean;
  /** About how high it is, until it was drawn once. */
  estimate: number;
  children: ReactNode;
}

/** Draws what is near the window; in its place, elsewhere, a gap as high as it was. */
export function Near({ root, always, estimate, children }: NearProps) {
  const frame = useRef<HTMLDivElement>(null);
  const [isNear, setNear] = useState(false);
  const height = useRef(estimate);
  useEffect(() => {
    const element = frame.current!;
    const observer = new IntersectionObserver(
      ([entry]) => {
        if (!entry) return;
        if (!entry.isIntersecting && element.firstChild) height.current = element.offsetHeight;
        setNear(entry.isIntersecting);
      },
      { root: root.current, rootMargin: MARGIN },
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, [root]);
  const isDrawn = always || isNear;
  return (
    <div ref={frame} style={isDrawn ? undefined : { height: height.current }}>
      {isDrawn && children}
    </div>
  );
}
