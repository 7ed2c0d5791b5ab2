import { type ReactNode, useLayoutEffect, useRef, useState } from "react";
import { ArrowDown } from "./icons";

/** So near to the end counts as at the end. */
const NEAR_PX = 60;

interface ScrollToEndProps {
  busy: boolean;
  /** The number of questions: whoever asks wants to see the answer. */
  turns: number;
  children: ReactNode;
}

/** Keeps the end in sight while the content grows, until the reader scrolls away from it. */
export function ScrollToEnd({ busy, turns, children }: ScrollToEndProps) {
  const viewport = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const following = useRef(true);
  const lastTop = useRef(0);
  const [away, setAway] = useState(false);

  const toEnd = () => {
    const box = viewport.current!;
    box.scrollTop = box.scrollHeight;
    lastTop.current = box.scrollTop;
  };

  const follow = () => {
    following.current = true;
    setAway(false);
    toEnd();
  };

  useLayoutEffect(() => {
    const observer = new ResizeObserver(() => following.current && toEnd());
    observer.observe(content.current!);
    observer.observe(viewport.current!);
    return () => observer.disconnect();
  }, []);

  useLayoutEffect(follow, [turns]);

  const onScroll = () => {
    const box = viewport.current!;
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_PX;
    // Growing content moves nothing up: only the reader does.
    const wentUp = box.scrollTop < lastTop.current - 2;
    lastTop.current = box.scrollTop;
    if (atEnd && !wentUp) following.current = true;
    else if (wentUp) following.current = false;
    setAway(!following.current && !atEnd);
  };

  return (
    <div className="viewport" ref={viewport} onScroll={onScroll} tabIndex={-1}>
      <div className="viewport-content" ref={content}>
        {children}
      </div>
      {away && (
        <div className="to-end">
          <button onClick={follow}>
            <ArrowDown /> {busy ? "Follow the answer" : "To the end"}
          </button>
        </div>
      )}
    </div>
  );
}
