import { useEffect, useState } from "react";
import { newChatId, useChatId } from "./chat-id";
import { ChatList } from "./chat-list";
import { useChats } from "./chats";
import { Conversation } from "./conversation";
import { Menu, Plus } from "./icons";
import { useInfo } from "./info";
import { PageList } from "./page-list";
import { type ChatSummary, isOurs } from "./server";

export function App() {
  const [chatId, openChat] = useChatId();
  const [menuIsOpen, setMenuIsOpen] = useState(false);
  const chats = useChats();
  const info = useInfo();
  const title = chats.list.find((chat) => isOurs(chat) && chat.id === chatId)?.title || "New chat";

  useEffect(() => {
    document.title = title === "New chat" ? "Perdure" : `${title} · Perdure`;
  }, [title]);

  const goTo = (next: string) => {
    setMenuIsOpen(false);
    openChat(next);
  };

  const remove = async (removed: ChatSummary) => {
    await chats.remove(removed).catch(() => {});
    if (isOurs(removed) && removed.id === chatId) goTo(newChatId());
  };

  return (
    <div className="app" data-menu={menuIsOpen ? "open" : "closed"}>
      <nav className="sidebar" aria-label="Chats">
        <a className="wordmark" href="/demos">
          <img src="/assets/favicon.svg" alt="" width="26" height="26" /> Perdure
        </a>
        <PageList />
        <button className="new-chat" data-testid="new-chat" onClick={() => goTo(newChatId())}>
          <Plus /> New chat
        </button>
        <ChatList chats={chats.list} current={chatId} onOpen={goTo} onRemove={remove} />
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
