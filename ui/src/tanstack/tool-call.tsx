import type { UIMessage } from "@tanstack/ai-react";
import { Value } from "../aside";

type ToolCallPart = Extract<UIMessage["parts"][number], { type: "tool-call" }>;

interface ToolCallProps {
  call: ToolCallPart;
  onDecide: ((approvalId: string, approved: boolean) => void) | undefined;
  canDecide: boolean;
}

export function ToolCall({ call, onDecide, canDecide }: ToolCallProps) {
  const waits = call.state === "approval-requested" && call.approval !== undefined;
  const asks = waits && onDecide !== undefined;
  const input = call.input ?? parsed(call.arguments);
  return (
    <div className="aside tool" data-testid="tool" data-state={call.state === "error" ? "output-error" : call.state}>
      <details open={asks}>
        <summary>
          <code>{call.name}</code> <span>{waits && !asks ? "was not decided" : stateOf(call)}</span>
        </summary>
        {input !== undefined && <Value label="Input" value={input} />}
        {call.output !== undefined && <Value label={call.state === "error" ? "Error" : "Output"} value={call.output} />}
      </details>
      {asks && (
        <p className="decision" role="group" aria-label={`Allow ${call.name}?`}>
          <button className="approve" data-testid="approve" disabled={!canDecide} onClick={() => onDecide(call.approval!.id, true)}>
            Approve
          </button>
          <button className="deny" data-testid="deny" disabled={!canDecide} onClick={() => onDecide(call.approval!.id, false)}>
            Deny
          </button>
        </p>
      )}
    </div>
  );
}

function stateOf(call: ToolCallPart): string {
  switch (call.state) {
    case "awaiting-input":
    case "input-streaming":
      return "being called…";
    case "input-complete":
      return call.output === undefined ? "running…" : "done";
    case "approval-requested":
      return "waits for your decision";
    case "approval-responded":
      return call.approval?.approved ? "approved" : "denied";
    case "error":
      return call.approval ? "denied" : "failed";
    default:
      return "done";
  }
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined; // still arriving
  }
}
