import type { UIMessage } from "ai";
import { type ReactNode, useEffect, useState } from "react";
import { urlOfChat } from "./chat-id";
import { ConnectionBanner, ConnectionMark, useConnection } from "./connection";
import { NewTab } from "./icons";
import { getHistory, type ServerInfo } from "./server";
import { LiveChat } from "./live-chat";
import { ModelBadge } from "./model-badge";
import type { WatchStatus } from "../../src/perdure/web/aisdk.js";

const RETRY_MS = 1500;

interface ConversationProps {
  chatId: string;
  title: string;
  info: ServerInfo | undefined;
  onChange: () => void;
  menuButton: ReactNode;
}

/** One chat: its frame at once, its messages as soon as the server gave them. */
export function Conversation({ chatId, title, info, onChange, menuButton }: ConversationProps) {
  const [connection, report] = useConnection();
  const history = useHistory(chatId, report);
  return (
    <main className="conversation" data-offline={connection === "offline"}>
      <header>
        {menuButton}
        <h1>{title}</h1>
        <ModelBadge info={info} />
        <ConnectionMark connection={connection} />
        <a className="quiet" href={urlOfChat(chatId)} target="_blank" rel="noopener" title="Open in a second tab">
          <NewTab />
          <span className="hidden">Open this chat in a second tab</span>
        </a>
      </header>
      <ConnectionBanner connection={connection} />
      {history ? (
        <LiveChat chatId={chatId} history={history} info={info} connection={connection} onStatus={report} onChange={onChange} />
      ) : (
        <p className="loading" aria-busy="true">
          Loading…
        </p>
      )}
    </main>
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
