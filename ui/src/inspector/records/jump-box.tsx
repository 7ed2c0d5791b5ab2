import { type FormEvent, type RefObject, useState } from "react";
import { parseTarget, type Target } from "./jump";

/** Where one types a sequence number or a time. */
export function JumpBox({ input, onJump }: { input: RefObject<HTMLInputElement | null>; onJump: (target: Target) => void }) {
  const [typed, setTyped] = useState("");
  const target = parseTarget(typed, new Date());
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!target) return;
    onJump(target);
    setTyped("");
    input.current?.blur();
  };
  return (
    <form className="jump" onSubmit={submit}>
      <label>
        <span className="hidden">Jump to a sequence number, a time, or so many before the tail</span>
        <input
          ref={input}
          value={typed}
          placeholder="Jump to 1200, 14:30, -50"
          spellCheck={false}
          autoComplete="off"
          aria-invalid={typed !== "" && !target}
          title="A sequence number; a time such as 14:30, 2026-03-01 14:30 or 5m ago; -50 for fifty before the tail"
          onChange={(event) => setTyped(event.target.value)}
          onKeyDown={(event) => event.key === "Escape" && input.current?.blur()}
        />
      </label>
      <kbd aria-hidden="true">:</kbd>
    </form>
  );
}
