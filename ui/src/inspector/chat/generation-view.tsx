import { memo } from "react";
import type { Generation } from "./generation";
import { useNow } from "./lease";
import { MessageView } from "./parts";
import { RailEnd, RailStart } from "./rail";
import type { OpenRecord } from "./seq-link";
import { STATES } from "./state-names";

const TICK_MS = 250;

interface GenerationViewProps {
  generation: Generation;
  /** Tells whether it changed: a generation is changed in place. */
  version: number;
  openRecord: OpenRecord;
}

/** What was said in one generation, and beside it how that came to be. */
export const GenerationView = memo(function GenerationView({ generation, openRecord }: GenerationViewProps) {
  const isEnded = Boolean(generation.ending ?? generation.takenOverBy) || !generation.claim;
  const now = useNow(isEnded ? undefined : TICK_MS, generation.last.timestamp);
  const state = generation.stateAt(now);
  const about = { generation, state, now, openRecord };
  return (
    <article
      className="generation"
      data-tone={STATES[state].tone}
      aria-label={`Generation from record ${generation.first.seqNum}, ${STATES[state].name}`}
    >
      <RailStart {...about} />
      <div className="said-all">
        {generation.messages.map((message) => (
          <MessageView key={message.seqNum} message={message} openRecord={openRecord} />
        ))}
        {generation.messages.length === 0 && <p className="soft nothing-said">Nothing was said{state === "running" ? " yet" : ""}.</p>}
      </div>
      <RailEnd {...about} />
    </article>
  );
});
