import type { UIMessage } from "ai";
import { useEffect, useState } from "react";
import type { WatchStatus } from "../../src/perdure/web/aisdk.js";
import { useConnection } from "./connection";
import { ConversationFrame, type ConversationProps, Loading } from "./conversation-frame";
import { LiveChat } from "./live-chat";
import { getHistory } from "./server";

const RETRY_MS = 1500;

/** One chat: its frame at once, its messages as soon as the server gave them. */
export function Conversation({ chatId, title, info, onChange, menuButton }: ConversationProps) {
  const [connection, report] = useConnection();
  const history = useHistory(chatId, report);
  return (
    <ConversationFrame {...{ chatId, title, connection, menuButton }} model={info?.model}>
      {history ? (
        <LiveChat chatId={chatId} history={history} info={info} connection={connection} onStatus={report} onChange={onChange} />
      ) : (
        <Loading />
      )}
    </ConversationFrame>
  );
}

/** The messages that a chat has when it is opened, asked for until they come. */
function useHistory(chatId: string, report: (status: WatchStatus) => void): UIMessage[] | undefined {
  const [history, setHistory] = useState<UIMessage[]>();

  useEffect(() => {
    const closing = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    const load = async () => {
      try {
        setHistory(await getHistory(chatId, closing.signal));
      } catch (error) {
        if (closing.signal.aborted) return;
        report({ state: "reconnecting", error, retryInMs: RETRY_MS });
        timer = setTimeout(load, RETRY_MS);
      }
    };
    void load();
    return () => {
      closing.abort();
      clearTimeout(timer);
    };
  }, [chatId, report]);

  return history;
}
