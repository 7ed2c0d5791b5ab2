import { type ComponentType, useEffect, useState } from "react";
import { newChatId, useChatId } from "./chat-id";
import { ChatList } from "./chat-list";
import { useChats } from "./chats";
import type { ConversationProps } from "./conversation-frame";
import { Menu, Plus } from "./icons";
import { useInfo } from "./info";
import { PageList } from "./page-list";
import { type ChatKind, type ChatSummary, isOf } from "./server";

interface AppProps {
  kind: ChatKind;
  /** What the window is called while nothing has been said. */
  name: string;
  Conversation: ComponentType<ConversationProps>;
}

/** A page of chats of one kind. */
export function App({ kind, name, Conversation }: AppProps) {
  const [chatId, openChat] = useChatId();
  const [menuIsOpen, setMenuIsOpen] = useState(false);
  const chats = useChats();
  const info = useInfo();
  const title = chats.list.find((chat) => isOf(kind, chat) && chat.id === chatId)?.title || "New chat";

  useEffect(() => {
    document.title = title === "New chat" ? name : `${title} · Perdure`;
  }, [title, name]);

  const goTo = (next: string) => {
    setMenuIsOpen(false);
    openChat(next);
  };

  const remove = async (removed: ChatSummary) => {
    await chats.remove(removed).catch(() => {});
    if (isOf(kind, removed) && removed.id === chatId) goTo(newChatId());
  };

  return (
    <div className="app" data-menu={menuIsOpen ? "open" : "closed"}>
      <nav className="sidebar" aria-label="Chats">
        <a className="wordmark" href="/demos">
          <img src="/assets/favicon.svg" alt="" width="26" height="26" /> Perdure
        </a>
        <PageList current={kind} />
        <button className="new-chat" data-testid="new-chat" onClick={() => goTo(newChatId())}>
          <Plus /> New chat
        </button>
        <ChatList kind={kind} chats={chats.list} current={chatId} onOpen={goTo} onRemove={remove} />
        <footer>
          {info && `perdure ${info.version}`}
        </footer>
      </nav>
      <button className="scrim" aria-label="Close the list of chats" tabIndex={-1} onClick={() => setMenuIsOpen(false)} />
      <Conversation
        key={chatId}
        chatId={chatId}
        title={title}
        info={info}
        onChange={chats.refresh}
        menuButton={
          <button
            className="menu-button quiet"
            aria-label="Chats"
            aria-expanded={menuIsOpen}
            onClick={() => setMenuIsOpen(!menuIsOpen)}
          >
            <Menu />
          </button>
        }
      />
    </div>
  );
}
