import type { UIMessage } from "@tanstack/ai-react";
import { useCallback, useEffect, useLayoutEffect, useState } from "react";
import type { WatchStatus } from "../../../src/perdure/web/aisdk.js";
import { Composer } from "../composer";
import type { Connection } from "../connection";
import { Loading } from "../conversation-frame";
import { useDraft } from "../draft";
import { EmptyChat } from "../empty-chat";
import { Failure } from "../failure";
import { ScrollToEnd } from "../scroll-to-end";
import { SecondTab } from "../second-tab";
import type { ModelInfo } from "../server";
import { textOf } from "./message-text";
import { isConflict, stopAnswer } from "./session";
import { useSessionChat } from "./session-chat";
import { Thread } from "./thread";
import { useThrottled } from "./throttled";

const OPENERS = [
  "Send an e-mail to ada@example.com about the tides",
  "Think: how many people do Aldermoor Paper and Fenwick Lenses employ together?",
  "Tell me a long story about tides and clocks",
];

/** Often enough to look like typing, seldom enough to lay out long answers. */
const RENDER_EVERY_MS = 50;

interface LiveChatProps {
  chatId: string;
  model: ModelInfo | undefined;
  connection: Connection;
  live: boolean;
  initialMessages: UIMessage[];
  onMessages: (messages: UIMessage[]) => void;
  onStatus: (status: WatchStatus) => void;
  /** Something happened that the list of chats shows. */
  onChange: () => void;
}

export function LiveChat(props: LiveChatProps) {
  const { chatId, model, connection, live, initialMessages, onMessages, onStatus, onChange } = props;
  const [draft, setDraft] = useDraft(chatId);
  const [notice, setNotice] = useState<string>();
  const [stopping, setStopping] = useState(false);
  const [failedTurn, setFailedTurn] = useState<string>();
  const [refused, setRefused] = useState<string>();

  const chat = useSessionChat({ chatId, live, initialMessages, onStatus, onRefused: giveBack });
  const { messages, error, isLoading, sessionGenerating, addToolApprovalResponse } = chat;
  const busy = isLoading || sessionGenerating;
  const throttled = useThrottled(messages, RENDER_EVERY_MS);
  const shown = busy ? throttled : messages;
  const offline = connection === "offline";
  const last = messages.at(-1);
  const turn = messages.findLast((message) => message.role === "user")?.id;
  const failure = error && failedTurn !== undefined && failedTurn === turn && !busy ? error.message : undefined;
  const status = !busy ? (failure ? "error" : "ready") : isLoading && last?.role === "user" ? "submitted" : "streaming";

  useEffect(() => onMessages(messages), [messages, onMessages]);

  // While it lays out, so that the list is the client's of this moment: the faster question may be in it already.
  useLayoutEffect(() => {
    if (refused === undefined || !messages.some((message) => message.id === refused)) return;
    setRefused(undefined);
    chat.setMessages(messages.filter((message) => message.id !== refused));
  }, [refused, messages]);

  useEffect(() => {
    onChange();
    if (!busy) setStopping(false);
  }, [busy, onChange]);

  // The next question, of whichever tab, is the end of an error. What was refused has a notice instead.
  useEffect(() => setFailedTurn(error && error.name !== "HttpError" ? (turn ?? "") : undefined), [error]);

  /** What was not taken is no part of the chat: the question goes back into the box. */
  function giveBack(reason: unknown, sent: UIMessage | undefined) {
    const isQuestion = sent?.role === "user";
    if (isQuestion) {
      setRefused(sent.id);
      setDraft((typed) => (typed ? `${textOf(sent)}\n\n${typed}` : textOf(sent)));
    }
    const why = isConflict(reason) ? "Another tab was faster" : "That did not get through";
    setNotice(isQuestion ? `${why}, so your message is back in the box.` : `${why}.`);
  }

  const send = (text: string) => {
    setNotice(undefined);
    void chat.sendMessage(text);
  };

  // The answer ends for every tab, by the log. The hook's own stop would end it in this one only.
  const stop = async () => {
    setStopping(true);
    try {
      if (!(await stopAnswer(chatId))) chat.stop(); // nothing runs (yet): give up waiting for it
    } catch {
      setNotice("The server could not be told to stop. Try again.");
      setStopping(false);
    }
  };

  const decide = useCallback(
    (id: string, approved: boolean) => {
      setNotice(undefined);
      void addToolApprovalResponse({ id, approved });
    },
    [addToolApprovalResponse],
  );

  const retry = () => {
    const question = messages.findLast((message) => message.role === "user");
    if (question) send(textOf(question));
  };

  if (!chat.isOpen && messages.length === 0) return <Loading />;
  return (
    <>
      <ScrollToEnd busy={busy} turns={shown.filter((message) => message.role === "user").length}>
        {shown.length === 0 ? (
          <EmptyChat
            heading={
              <>
                Ask in one tab,
                <br /> <em>agree in another.</em>
              </>
            }
            steps={[
              "Ask for an e-mail. The answer waits until somebody allows it.",
              <>
                Reload, or open <SecondTab chatId={chatId} />: the request is there as well.
              </>,
              "Answer it in either. Both go on.",
            ]}
            openers={OPENERS}
            model={model}
            onTry={send}
          />
        ) : (
          <Thread messages={shown} busy={busy} canDecide={!busy && !offline} onDecide={decide} />
        )}
        {failure && <Failure text={failure} onRetry={retry} disabled={offline} />}
      </ScrollToEnd>
      {sessionGenerating && !isLoading && (
        <p className="elsewhere" data-testid="session-generating" role="status">
          This answer was asked for elsewhere; you see it as it is written.
        </p>
      )}
      <Composer
        draft={draft}
        onDraft={setDraft}
        onSend={send}
        onStop={stop}
        status={status}
        stopping={stopping}
        offline={offline}
        notice={notice}
        editing={false}
        onCancelEdit={() => {}}
      />
    </>
  );
}
