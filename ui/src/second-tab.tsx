import { urlOfChat } from "./chat-id";

export function SecondTab({ chatId }: { chatId: string }) {
  return (
    <a href={urlOfChat(chatId)} target="_blank" rel="noopener">
      a second tab
    </a>
  );
}
