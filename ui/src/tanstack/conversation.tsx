import { useConnection } from "../connection";
import { ConversationFrame, type ConversationProps } from "../conversation-frame";
import { LiveChat } from "./live-chat";
import { useReturns } from "./returns";

/** One chat. Its messages come with the subscription, so there is nothing else to load. */
export function Conversation({ chatId, title, info, onChange, menuButton }: ConversationProps) {
  const [connection, report] = useConnection();
  const { visible, returns, keep, kept } = useReturns();
  return (
    <ConversationFrame {...{ chatId, title, connection, menuButton }} model={info?.messagesModel}>
      <LiveChat
        key={returns}
        chatId={chatId}
        model={info?.messagesModel}
        connection={connection}
        live={visible}
        initialMessages={kept}
        onMessages={keep}
        onStatus={report}
        onChange={onChange}
      />
    </ConversationFrame>
  );
}
