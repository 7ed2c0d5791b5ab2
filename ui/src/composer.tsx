import type { ChatStatus } from "ai";
import { type FormEvent, type KeyboardEvent, useEffect, useEffectEvent, useLayoutEffect, useRef, useState } from "react";
import { ArrowUp, Cross, Square } from "./icons";

/** Send turns into Stop under the pointer: the second click of a double click must not stop what the first one sent. */
const STOP_AFTER_MS = 400;

interface ComposerProps {
  draft: string;
  onDraft: (text: string) => void;
  onSend: (text: string) => void;
  onStop: () => void;
  status: ChatStatus;
  stopping: boolean;
  offline: boolean;
  notice: string | undefined;
  editing: boolean;
  onCancelEdit: () => void;
}

export function Composer(props: ComposerProps) {
  const { draft, onDraft, onSend, onStop, status, stopping, offline, notice, editing, onCancelEdit } = props;
  const box = useRef<HTMLTextAreaElement>(null);
  const busy = status === "submitted" || status === "streaming";
  const canSend = !busy && !offline && draft.trim() !== "";

  const canStop = useAfter(STOP_AFTER_MS, busy) && !stopping && !offline;

  useFittingHeight(box, draft);
  useEscape(canStop ? onStop : editing ? onCancelEdit : undefined);
  useEffect(() => {
    // A phone would open its keyboard over the answer.
    if (matchMedia("(pointer: fine)").matches || editing) box.current?.focus();
  }, [editing]);

  const submit = (event?: FormEvent) => {
    event?.preventDefault();
    if (!canSend) return; // what is typed stays
    onSend(draft.trim());
    onDraft("");
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    submit();
  };

  return (
    <form className="composer" onSubmit={submit}>
      {(notice || editing) && (
        <p className="composer-notice" role="status">
          {notice ?? "Editing: what followed this message will be replaced."}
          {editing && (
            <button type="button" className="quiet" aria-label="Cancel editing" onClick={onCancelEdit}>
              <Cross />
            </button>
          )}
        </p>
      )}
      <div className="composer-box">
        <textarea
          ref={box}
          data-testid="composer"
          aria-label="Message"
          placeholder={offline ? "You can go on typing; sending waits for the server" : "Write a message"}
          rows={1}
          value={draft}
          onChange={(event) => onDraft(event.target.value)}
          onKeyDown={onKeyDown}
        />
        {busy ? (
          <button
            type="button"
            className="stop"
            data-testid="stop"
            aria-label="Stop"
            aria-busy={stopping}
            disabled={!canStop}
            onClick={onStop}
          >
            <Square />
          </button>
        ) : (
          <button type="submit" className="send" data-testid="send" aria-label="Send" disabled={!canSend}>
            <ArrowUp />
          </button>
        )}
      </div>
      <p className="composer-foot">
        <span className="keys">
          <kbd>Enter</kbd> sends, <kbd>Shift Enter</kbd> breaks the line, <kbd>Esc</kbd> stops
        </span>
        <span className="status" data-testid="status" role="status" data-status={status}>
          {status}
        </span>
      </p>
    </form>
  );
}

/** As high as its text, up to what the style sheet allows. */
function useFittingHeight(box: { current: HTMLTextAreaElement | null }, text: string) {
  useLayoutEffect(() => {
    const area = box.current!;
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
  }, [box, text]);
}

/** True once `condition` has been true for that long. */
function useAfter(ms: number, condition: boolean): boolean {
  const [passed, setPassed] = useState(false);
  useEffect(() => {
    if (!condition) return;
    const timer = setTimeout(() => setPassed(true), ms);
    return () => {
      clearTimeout(timer);
      setPassed(false);
    };
  }, [ms, condition]);
  return passed;
}

function useEscape(action: (() => void) | undefined) {
  const act = useEffectEvent(() => action?.());
  useEffect(() => {
    const onKeyDown = (event: globalThis.KeyboardEvent) => {
      if (event.key === "Escape") act();
    };
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, []);
}
