import { useCallback, useState } from "react";

/** What is typed and not sent yet. It survives a reload, too. */
export function useDraft(chatId: string): [string, (text: string | ((before: string) => string)) => void] {
  const key = `draft-${chatId}`;
  const [draft, setDraft] = useState(() => sessionStorage.getItem(key) ?? "");

  const keep = useCallback(
    (text: string | ((before: string) => string)) => {
      setDraft((before) => {
        const after = typeof text === "function" ? text(before) : text;
        if (after) sessionStorage.setItem(key, after);
        else sessionStorage.removeItem(key);
        return after;
      });
    },
    [key],
  );

  return [draft, keep];
}
