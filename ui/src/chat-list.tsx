import { useState } from "react";
import { urlOfChat } from "./chat-id";
import { Cross } from "./icons";
import { pageOf } from "./pages";
import { type ChatKind, type ChatSummary, isOf } from "./server";

interface ChatListProps {
  /** The kind of the page that shows the list. */
  kind: ChatKind;
  chats: ChatSummary[];
  current: string;
  onOpen: (chatId: string) => void;
  onRemove: (chat: ChatSummary) => void;
}

export function ChatList({ kind, chats, current, onOpen, onRemove }: ChatListProps) {
  if (chats.length === 0) return <p className="chat-list-empty">Chats appear here once you have sent something.</p>;
  return (
    <ul className="chat-list">
      {chats.map((chat) => (
        <ChatListItem
          key={`${chat.kind} ${chat.id}`}
          chat={chat}
          isOurs={isOf(kind, chat)}
          isCurrent={isOf(kind, chat) && chat.id === current}
          onOpen={() => onOpen(chat.id)}
          onRemove={() => onRemove(chat)}
        />
      ))}
    </ul>
  );
}

interface ChatListItemProps {
  chat: ChatSummary;
  isOurs: boolean;
  isCurrent: boolean;
  onOpen: () => void;
  onRemove: () => void;
}

function ChatListItem({ chat, isOurs, isCurrent, onOpen, onRemove }: ChatListItemProps) {
  const [asking, setAsking] = useState(false);
  const title = chat.title || "Untitled";
  const when = chat.active ? "answering…" : timeAgo(chat.updatedAt);
  return (
    <li className="chat-list-item" data-testid="chat-list-item" data-chat-id={chat.id} data-active={chat.active}>
      <a
        href={`${pageOf(chat.kind).path}${urlOfChat(chat.id)}`}
        aria-current={isCurrent ? "page" : undefined}
        onClick={(event) => {
          if (!isOurs) return; // another page
          if (event.metaKey || event.ctrlKey || event.shiftKey) return; // a new tab or window, as with any link
          event.preventDefault();
          onOpen();
        }}
      >
        <span className="chat-title">{title}</span>
        <span className="chat-when">{isOurs ? when : `${pageOf(chat.kind).name} · ${when}`}</span>
      </a>
      {asking ? (
        <button className="confirm" autoFocus onClick={onRemove} onBlur={() => setAsking(false)}>
          Delete?
        </button>
      ) : (
        <button className="quiet" aria-label={`Delete “${title}”`} title="Delete" onClick={() => setAsking(true)}>
          <Cross />
        </button>
      )}
    </li>
  );
}

function timeAgo(time: number): string {
  const minutes = Math.round((Date.now() - time) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 24 * 60) return `${Math.round(minutes / 60)} h ago`;
  return new Date(time).toLocaleDateString(undefined, { day: "numeric", month: "short" });
}
