import { type FormEvent, type ReactNode, useEffect, useId, useRef, useState } from "react";
import { Problem } from "./problem";

interface DialogProps {
  title: string;
  /** What the button that does it says. */
  action: string;
  danger?: boolean;
  wide?: boolean;
  disabled?: boolean;
  onSubmit: () => Promise<void>;
  onClose: () => void;
  children: ReactNode;
}

/** A modal form. What `onSubmit` is refused is shown in it, and it stays open. */
export function Dialog({ title, action, danger, wide, disabled, onSubmit, onClose, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const titleId = useId();

  useEffect(() => {
    const element = dialog.current!;
    const before = document.activeElement;
    element.showModal();
    // It would be the first that can have it, which may be a switch.
    element.querySelector<HTMLElement>("textarea, input:not([type=radio], [type=checkbox])")?.focus();
    return () => {
      element.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (busy || disabled) return;
    setBusy(true);
    setError(undefined);
    try {
      await onSubmit();
    } catch (failure) {
      setError(failure);
    } finally {
      setBusy(false);
    }
  };

  return (
    <dialog
      ref={dialog}
      className={wide ? "dialog wide" : "dialog"}
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onKeyDown={(event) => event.stopPropagation()}
    >
      <form onSubmit={submit}>
        <h2 id={titleId}>{title}</h2>
        <div className="dialog-body">{children}</div>
        {error !== undefined && <Problem error={error} />}
        <footer>
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button className={danger ? "button danger" : "button primary"} disabled={busy || disabled}>
            {action}
          </button>
        </footer>
      </form>
    </dialog>
  );
}
