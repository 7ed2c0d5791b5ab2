import type { UIMessage } from "ai";

export function textOf(message: UIMessage): string {
  return message.parts.map((part) => (part.type === "text" ? part.text : "")).join("\n\n").trim();
}

/** The text of a last question that the server did not take; null if it took it or there is none. */
export function refusedText(before: UIMessage[], after: UIMessage[]): string | null {
  const question = before.at(-1);
  if (question?.role !== "user") return null;
  const kept = after.find((message) => message.id === question.id);
  const text = textOf(question);
  return kept && textOf(kept) === text ? null : text;
}
