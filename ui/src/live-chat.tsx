import type { UIMessage } from "ai";
import { useEffect, useState } from "react";
import type { WatchStatus } from "../../src/perdure/web/aisdk.js";
import { Composer } from "./composer";
import type { Connection } from "./connection";
import { useDraft } from "./draft";
import { EmptyChat } from "./empty-chat";
import { Failure } from "./failure";
import { describeFailure, isConflict } from "./describe-failure";
import { Message } from "./message";
import { refusedText, textOf } from "./message-text";
import { SecondTab } from "./second-tab";
import { ScrollToEnd } from "./scroll-to-end";
import { type ServerInfo, stopTurn } from "./server";
import { useWatchedChat } from "./watched-chat";

const OPENERS = ["Tell me a long story about a lighthouse", "Explain how a log keeps its promises", "Show me some code, a list and a table"];

interface LiveChatProps {
  chatId: string;
  history: UIMessage[];
  info: ServerInfo | undefined;
  connection: Connection;
  onStatus: (status: WatchStatus) => void;
  /** Something happened that the list of chats shows. */
  onChange: () => void;
}

export function LiveChat({ chatId, history, info, connection, onStatus, onChange }: LiveChatProps) {
  const [draft, setDraft] = useDraft(chatId);
  const [editing, setEditing] = useState<string>();
  const [notice, setNotice] = useState<string>();
  const [stopping, setStopping] = useState(false);

  const chat = useWatchedChat({
    chatId,
    history,
    onStatus,
    onReplace(before, after) {
      const refused = refusedText(before, after);
      if (refused === null) return;
      setDraft((typed) => (typed ? `${refused}\n\n${typed}` : refused));
      setNotice(
        chat.error && isConflict(chat.error)
          ? "Another tab was faster, so your message is back in the box."
          : "Your message did not get through, so it is back in the box.",
      );
      chat.clearError();
    },
  });
  const { messages, status, error } = chat;
  const busy = status === "submitted" || status === "streaming";
  const offline = connection === "offline";
  const last = messages.at(-1);

  useEffect(() => {
    onChange();
    if (!busy) setStopping(false);
  }, [busy, onChange]);

  const send = (text: string) => {
    setNotice(undefined);
    setEditing(undefined);
    void chat.sendMessage(editing === undefined ? { text } : { text, messageId: editing });
  };

  // The turn ends for every tab. Aborting this tab's request alone would only stop looking.
  const stop = async () => {
    setStopping(true);
    try {
      if (!(await stopTurn(chatId))) await chat.stop(); // nothing runs (yet): give up waiting for it
    } catch {
      setNotice("The server could not be told to stop. Try again.");
    } finally {
      setStopping(false);
    }
  };

  const edit = (message: UIMessage) => {
    setEditing(message.id);
    setDraft(textOf(message));
  };

  const cancelEdit = () => {
    setEditing(undefined);
    setDraft("");
  };

  const failure = status === "error" && error ? describeFailure(error, { offline, answered: last?.role === "assistant" }) : null;

  const retry = () => {
    const question = messages.findLast((message) => message.role === "user");
    // Not regenerate(): the server may never have got the question, and would then cut the answer before it.
    if (question) void chat.sendMessage({ role: "user", parts: question.parts, messageId: question.id });
  };

  return (
    <>
      <ScrollToEnd busy={busy} turns={messages.filter((message) => message.role === "user").length}>
        {messages.length === 0 ? (
          <EmptyChat
            heading={
              <>
                Send something,
                <br /> <em>then try to lose it.</em>
              </>
            }
            steps={[
              "Reload the page in mid-answer.",
              <>
                Open this chat in <SecondTab chatId={chatId} />, and stop the answer from there.
              </>,
              <>
                Kill the server with <kbd>Ctrl</kbd> <kbd>C</kbd> and start it again.
              </>,
            ]}
            openers={OPENERS}
            model={info?.model}
            onTry={send}
          />
        ) : (
          <ol className="thread" aria-label="Messages" aria-live="polite" aria-relevant="additions" aria-busy={busy}>
            {messages.map((message) => (
              <Message
                key={message.id}
                message={message}
                isStreaming={busy && message === last && message.role === "assistant"}
                onEdit={busy || offline ? undefined : edit}
                onRegenerate={
                  busy || offline || message !== last ? undefined : () => void chat.regenerate({ messageId: message.id })
                }
              />
            ))}
            {busy && last?.role === "user" && <li className="waiting" aria-label="Waiting for the answer" />}
          </ol>
        )}
        {failure && <Failure text={failure} onRetry={retry} disabled={offline} />}
      </ScrollToEnd>
      <Composer
        draft={draft}
        onDraft={setDraft}
        onSend={send}
        onStop={stop}
        status={status}
        stopping={stopping}
        offline={offline}
        notice={notice}
        editing={editing !== undefined}
        onCancelEdit={cancelEdit}
      />
    </>
  );
}
