// Which format a generation is written in, told by its events.

import { type Fold, type JsonObject, nameOf } from "../message";
import { AiSdkFold } from "./aisdk";
import { AnthropicFold } from "./anthropic";
import { EventsFold } from "./events";
import { ResponsesFold } from "./openai";
import { TanStackFold } from "./tanstack";

export type Format = "aisdk" | "anthropic" | "tanstack" | "openai" | "events" | "text";

export const FORMAT_NAMES: Record<Format, string> = {
  aisdk: "AI SDK",
  anthropic: "Anthropic Messages",
  tanstack: "TanStack AI",
  openai: "OpenAI Responses",
  events: "Events",
  text: "Text",
};

const ANTHROPIC = /^(message_(start|delta|stop)|content_block_(start|delta|stop)|tool_result)$/;
const TANSTACK = /^(RUN|TEXT_MESSAGE|TOOL_CALL|REASONING|THINKING|STEP|STATE|MESSAGES|ACTIVITY)_[A-Z_]+$/;
const AI_SDK = /^(start(-step)?|finish(-step)?|reset-step|abort|message-metadata|source-(url|document)|(text|reasoning|tool|data)-.+)$/;

/** The format that only this event can be of; undefined if several may have it. */
export function formatOf(event: JsonObject): Exclude<Format, "text"> | undefined {
  const type = nameOf(event);
  if (ANTHROPIC.test(type)) return "anthropic";
  if (TANSTACK.test(type)) return "tanstack";
  if (type.startsWith("response.") || type.endsWith("_call_output")) return "openai";
  if (AI_SDK.test(type) || (type === "error" && typeof event.errorText === "string")) return "aisdk";
  return undefined;
}

export function foldFor(format: Exclude<Format, "text">): Fold {
  switch (format) {
    case "aisdk":
      return new AiSdkFold();
    case "anthropic":
      return new AnthropicFold();
    case "tanstack":
      return new TanStackFold();
    case "openai":
      return new ResponsesFold();
    case "events":
      return new EventsFold();
  }
}
