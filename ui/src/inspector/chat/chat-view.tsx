import { type ReactNode, useEffect, useLayoutEffect, useRef, useState } from "react";
import type { StoreClient } from "../api/client";
import type { StreamRef } from "../api/types";
import { formatCount } from "../format";
import { Problem } from "../problem";
import { useShortcuts } from "../shortcuts";
import { FORMAT_NAMES } from "./formats/format";
import type { Generation, State } from "./generation";
import { GenerationView } from "./generation-view";
import { useNow } from "./lease";
import { Near } from "./near";
import { STATES } from "./state-names";
import { type ReadChat, useChatLog } from "./use-chat-log";
import "../../style/markdown.css";
import "./chat.css";

/** Of the last generations, so many are drawn wherever the window is: a chat opens at its end. */
const DRAWN_AT_END = 3;
const SHOWN_IN_STRIP = 240;
const AT_END_PX = 48;
/** How often it is looked whether the lease of the last generation is over. */
const LOOK_MS = 1_000;

interface ChatViewProps {
  client: StoreClient;
  stream: StreamRef;
  openRecord: (seqNum: number) => void;
}

export function ChatView({ client, stream, openRecord }: ChatViewProps) {
  const chat = useChatLog(client, stream);
  const { log, version, error, tail, retry } = chat;
  if (error !== undefined) return <Problem error={error} retry={retry} />;
  if (log.generations.length === 0) return <NothingYet chat={chat} />;
  return (
    <section className="chat" aria-label="Chat">
      <Bar chat={chat} />
      {!log.isChat && log.nextSeqNum >= (tail ?? 0) && (
        <p className="notice">
          No fence of a chat stands among these records: they are shown as one would read them if they were a chat.
        </p>
      )}
      <Conversation chat={chat} version={version} openRecord={openRecord} />
    </section>
  );
}

function NothingYet({ chat: { tail, log, version } }: { chat: ReadChat }) {
  if (tail === undefined || (version === 0 && tail > 0)) return <p className="empty">Reading…</p>;
  return (
    <div className="empty">
      <p className="empty-title">No chat here{tail === 0 ? " yet" : ""}</p>
      <p>
        {tail > log.nextSeqNum || tail > 0
          ? "All records of this stream are gone. A single-use chat trims its records when its answer has ended."
          : "As soon as a generation claims this stream, what it says is shown here, live."}
      </p>
    </div>
  );
}

function Bar({ chat: { log, following, from, readEarlier } }: { chat: ReadChat }) {
  const { generations } = log;
  const last = generations.at(-1);
  const now = useNow(last?.claim && !last.ending ? LOOK_MS : undefined, last?.last.timestamp ?? 0);
  const counts = new Map<State, number>();
  for (const generation of generations) {
    const state = generation.stateAt(now);
    counts.set(state, (counts.get(state) ?? 0) + 1);
  }
  const format = generations.findLast((generation) => generation.format)?.format;
  const told = [...counts].map(([state, count]) => `${formatCount(count)} ${STATES[state].name}`).join(", ");
  return (
    <div className="toolbar chat-bar">
      {format && <span className="chip bronze">{FORMAT_NAMES[format]}</span>}
      <span className="count">
        {formatCount(generations.length)} {generations.length === 1 ? "generation" : "generations"}
        {generations.length > 0 && <span className="soft">: {told}</span>}
      </span>
      <Strip generations={generations} now={now} />
      {from > 0 && (
        <button className="button small" onClick={readEarlier}>
          Read what is before #{formatCount(from)}
        </button>
      )}
      <span className="following" data-kind={following.kind} role="status">
        {following.kind === "live" ? "live" : following.kind === "lost" ? "connection lost, trying again" : "connecting"}
      </span>
    </div>
  );
}

/** All generations at a glance, each one a step to it. */
function Strip({ generations, now }: { generations: readonly Generation[]; now: number }) {
  if (generations.length < 2) return null;
  return (
    <div className="strip" role="group" aria-label="Generations">
      {generations.slice(-SHOWN_IN_STRIP).map((generation) => {
        const state = generation.stateAt(now);
        const label = `Generation ${generation.index + 1}, ${STATES[state].name}`;
        return (
          <button
            key={generation.index}
            data-tone={STATES[state].tone}
            tabIndex={-1}
            title={label}
            aria-label={label}
            onClick={() => showGeneration(generation.index)}
          />
        );
      })}
    </div>
  );
}

interface ConversationProps {
  chat: ReadChat;
  version: number;
  openRecord: (seqNum: number) => void;
}

function Conversation({ chat: { log }, version, openRecord }: ConversationProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const [isAtEnd, setAtEnd] = useState(true);
  const sticks = useRef(true);
  const { generations } = log;

  const toEnd = () => {
    const element = scroller.current!;
    element.scrollTop = element.scrollHeight;
  };
  const onScroll = () => {
    const element = scroller.current!;
    sticks.current = element.scrollHeight - element.scrollTop - element.clientHeight < AT_END_PX;
    setAtEnd(sticks.current);
  };
  useLayoutEffect(() => {
    if (sticks.current) toEnd();
  }, [version]);
  useEffect(() => {
    // What is drawn only now, such as fonts, moves the end.
    const observer = new ResizeObserver(() => sticks.current && toEnd());
    observer.observe(scroller.current!.firstElementChild!);
    return () => observer.disconnect();
  }, []);

  const step = (by: number) => showGeneration(nearest(scroller.current!, generations.length) + by);
  useShortcuts({
    j: () => step(1),
    k: () => step(-1),
    g: () => showGeneration(0),
    G: toEnd,
  });

  return (
    <div className="chat-body">
      <div ref={scroller} className="chat-scroll" tabIndex={0} onScroll={onScroll} role="region" aria-label="What was said">
        <div>
          {generations.map((generation, index) => (
            <Frame key={generation.index} index={index}>
              <Near root={scroller} always={index >= generations.length - DRAWN_AT_END} estimate={200 + generation.bytes / 40}>
                <GenerationView generation={generation} version={generation.version} openRecord={openRecord} />
              </Near>
            </Frame>
          ))}
        </div>
      </div>
      {!isAtEnd && (
        <button className="button small to-end" onClick={toEnd}>
          Latest
        </button>
      )}
    </div>
  );
}

function Frame({ index, children }: { index: number; children: ReactNode }) {
  return (
    <div id={`frame-${index}`} className="generation-frame" tabIndex={-1}>
      {children}
    </div>
  );
}

/** Not by `scrollIntoView`, which moves whatever is around as well. */
function showGeneration(index: number): void {
  const frame = document.getElementById(`frame-${index}`);
  const scroller = frame?.closest(".chat-scroll");
  if (!frame || !scroller) return;
  scroller.scrollTop += frame.getBoundingClientRect().top - scroller.getBoundingClientRect().top;
  frame.focus({ preventScroll: true });
}

/** The generation at the upper edge of the window. */
function nearest(scroller: HTMLElement, count: number): number {
  const top = scroller.getBoundingClientRect().top;
  for (let index = 0; index < count; index++) {
    const frame = document.getElementById(`frame-${index}`);
    if (frame && frame.getBoundingClientRect().bottom > top + 8) return index;
  }
  return count - 1;
}
