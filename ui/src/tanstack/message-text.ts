import type { UIMessage } from "@tanstack/ai-react";

export function textOf(message: UIMessage): string {
  return message.parts.map((part) => (part.type === "text" ? part.content : "")).join("\n\n").trim();
}
