import type { UIMessage } from "@tanstack/ai-react";
import { useCallback, useEffect, useRef, useState } from "react";
import { useVisible } from "../visibility";

/**
 * Whether somebody may be looking, and how often somebody has come back. Who comes back gets a client that reads the chat
 * from its snapshot on: one that was away in the middle of a run would not know that a run is active. Until the snapshot
 * is there, it shows the messages that were kept.
 */
export function useReturns() {
  const visible = useVisible();
  const messages = useRef<UIMessage[]>([]);
  const [state, setState] = useState({ returns: 0, kept: messages.current, wasVisible: visible });

  useEffect(() => {
    setState(({ returns, kept, wasVisible }) =>
      visible && !wasVisible
        ? { returns: returns + 1, kept: messages.current, wasVisible: visible }
        : { returns, kept, wasVisible: visible },
    );
  }, [visible]);

  const keep = useCallback((shown: UIMessage[]) => {
    messages.current = shown;
  }, []);
  return { visible: visible && state.wasVisible, returns: state.returns, kept: state.kept, keep };
}
