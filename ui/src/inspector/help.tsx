import { useEffect, useRef } from "react";

const KEYS: readonly (readonly [title: string, keys: readonly (readonly [keys: string, meaning: string])[]])[] = [
  [
    "Everywhere",
    [
      ["/", "search or filter"],
      ["u", "one level up"],
      ["1 … 5", "the views of this page, in their order"],
      ["?", "this list"],
      ["Esc", "close, clear, give up"],
    ],
  ],
  [
    "Lists",
    [
      ["j  ↓", "next"],
      ["k  ↑", "previous"],
      ["PgDn  PgUp", "a page on, a page back"],
      ["Enter", "open"],
      ["c", "create"],
    ],
  ],
  [
    "Records",
    [
      ["g", "first record"],
      ["G", "tail, and follow it"],
      ["p", "pause or resume the live tail"],
      [":", "jump to a sequence number or a time"],
      ["a", "append a record"],
      ["y", "copy the chosen record as JSON"],
    ],
  ],
  [
    "Chat",
    [
      ["j  k", "next generation, previous one"],
      ["g  G", "first generation, last one"],
    ],
  ],
  [
    "Time line",
    [
      ["←  →", "move"],
      ["+  −  0", "zoom in, zoom out, the whole stream"],
      ["Enter", "open the record"],
    ],
  ],
];

export function Help({ onClose }: { onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const element = dialog.current!;
    element.showModal();
    return () => element.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      className="dialog help"
      aria-label="Keyboard shortcuts"
      onClose={onClose}
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.key === "?") onClose();
      }}
    >
      <h2>Keyboard shortcuts</h2>
      <div className="help-columns">
        {KEYS.map(([title, keys]) => (
          <section key={title}>
            <h3>{title}</h3>
            <dl>
              {keys.map(([key, meaning]) => (
                <div key={key}>
                  <dt>
                    {key.split("  ").map((one) => (
                      <kbd key={one}>{one}</kbd>
                    ))}
                  </dt>
                  <dd>{meaning}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
      <form method="dialog">
        <button className="button" autoFocus>
          Close
        </button>
      </form>
    </dialog>
  );
}
