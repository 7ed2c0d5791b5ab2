import { useState } from "react";
import { Dialog } from "../dialog";

interface DeleteDialogProps {
  name: string;
  warning: string;
  act: () => Promise<void>;
  onClose: (deleted: boolean) => void;
}

/** Asks for the name: what goes does not come back. */
export function DeleteDialog({ name, warning, act, onClose }: DeleteDialogProps) {
  const [typed, setTyped] = useState("");
  const remove = async () => {
    await act();
    onClose(true);
  };
  return (
    <Dialog
      title={`Delete ${name}?`}
      action="Delete"
      danger
      disabled={typed !== name}
      onSubmit={remove}
      onClose={() => onClose(false)}
    >
      <p>{warning} This cannot be undone.</p>
      <label className="field">
        <span>Type its name to go on</span>
        <input value={typed} autoFocus spellCheck={false} autoComplete="off" onChange={(event) => setTyped(event.target.value)} />
      </label>
    </Dialog>
  );
}
