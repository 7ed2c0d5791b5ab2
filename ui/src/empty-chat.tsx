import { urlOfChat } from "./chat-id";
import type { ServerInfo } from "./server";

const OPENERS = ["Tell me a long story about a lighthouse", "Explain how a log keeps its promises", "Show me some code, a list and a table"];

interface EmptyChatProps {
  chatId: string;
  info: ServerInfo | undefined;
  onTry: (text: string) => void;
}

export function EmptyChat({ chatId, info, onTry }: EmptyChatProps) {
  return (
    <section className="empty-chat">
      <h2>
        Send something,
        <br /> <em>then try to lose it.</em>
      </h2>
      <ol>
        <li>Reload the page in mid-answer.</li>
        <li>
          Open this chat in <a href={urlOfChat(chatId)} target="_blank" rel="noopener">a second tab</a>, and stop the
          answer from there.
        </li>
        <li>
          Kill the server with <kbd>Ctrl</kbd> <kbd>C</kbd> and start it again.
        </li>
      </ol>
      <ul className="openers" aria-label="Suggestions">
        {OPENERS.map((text) => (
          <li key={text}>
            <button onClick={() => onTry(text)}>{text}</button>
          </li>
        ))}
      </ul>
      {info?.model.note && <p className="model-note">{info.model.note}</p>}
    </section>
  );
}
