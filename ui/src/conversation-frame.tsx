import type { ReactNode } from "react";
import { urlOfChat } from "./chat-id";
import { type Connection, ConnectionBanner, ConnectionMark } from "./connection";
import { NewTab } from "./icons";
import { ModelBadge } from "./model-badge";
import type { ModelInfo, ServerInfo } from "./server";

export interface ConversationProps {
  chatId: string;
  title: string;
  info: ServerInfo | undefined;
  /** Something happened that the list of chats shows. */
  onChange: () => void;
  menuButton: ReactNode;
}

interface ConversationFrameProps {
  chatId: string;
  title: string;
  model: ModelInfo | undefined;
  connection: Connection;
  menuButton: ReactNode;
  children: ReactNode;
}

/** What stands around the messages of a chat. */
export function ConversationFrame({ chatId, title, model, connection, menuButton, children }: ConversationFrameProps) {
  return (
    <main className="conversation" data-offline={connection === "offline"}>
      <header>
        {menuButton}
        <h1>{title}</h1>
        <ModelBadge model={model} />
        <ConnectionMark connection={connection} />
        <a className="quiet" href={urlOfChat(chatId)} target="_blank" rel="noopener" title="Open in a second tab">
          <NewTab />
          <span className="hidden">Open this chat in a second tab</span>
        </a>
      </header>
      <ConnectionBanner connection={connection} />
      {children}
    </main>
  );
}

export function Loading() {
  return (
    <p className="loading" aria-busy="true">
      Loading…
    </p>
  );
}
