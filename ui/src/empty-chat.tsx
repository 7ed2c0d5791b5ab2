import type { ReactNode } from "react";
import type { ModelInfo } from "./server";

interface EmptyChatProps {
  heading: ReactNode;
  /** What to try, in this order. */
  steps: ReactNode[];
  openers: string[];
  model: ModelInfo | undefined;
  onTry: (text: string) => void;
}

export function EmptyChat({ heading, steps, openers, model, onTry }: EmptyChatProps) {
  return (
    <section className="empty-chat">
      <h2>{heading}</h2>
      <ol>
        {steps.map((step, index) => (
          <li key={index}>{step}</li>
        ))}
      </ol>
      <ul className="openers" aria-label="Suggestions">
        {openers.map((text) => (
          <li key={text}>
            <button onClick={() => onTry(text)}>{text}</button>
          </li>
        ))}
      </ul>
      {model?.note && <p className="model-note">{model.note}</p>}
    </section>
  );
}
