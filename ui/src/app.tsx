import { useEffect, useState } from "react";
import { newChatId, useChatId } from "./chat-id";
import { ChatList } from "./chat-list";
import { useChats } from "./chats";
import { Conversation } from "./conversation";
import { Menu, Plus } from "./icons";
import { useInfo } from "./info";

export function App() {
  const [chatId, openChat] = useChatId();
  const [menuIsOpen, setMenuIsOpen] = useState(false);
  const chats = useChats();
  const info = useInfo();
  const title = chats.list.find((chat) => chat.id === chatId)?.title || "New chat";

  useEffect(() => {
    document.title = title === "New chat" ? "Perdure" : `${title} · Perdure`;
  }, [title]);

  const goTo = (next: string) => {
    setMenuIsOpen(false);
    openChat(next);
  };

  const remove = async (removed: string) => {
    await chats.remove(removed).catch(() => {});
    if (removed === chatId) goTo(newChatId());
  };

  return (
    <div className="app" data-menu={menuIsOpen ? "open" : "closed"}>
      <nav className="sidebar" aria-label="Chats">
        <p className="wordmark">
          <img src="/assets/favicon.svg" alt="" width="26" height="26" /> Perdure
        </p>
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
