// A chat as turns: from the history first, then event by event as the log grows.

/** The turns of a chat: what the user said, the messages that answer, and how it ended. */
export class Transcript {
  turns = [];
  /** Whether an answer is being written, as far as the events tell. */
  busy = false;

  /** Begin with what `loadHistory` gave. */
  constructor({ turns, messages }) {
    const starts = new Map();
    this.turns = turns.map(({ user, assistant, partial, error, stopped }) => {
      const turn = { user, messages: [], error, stopped };
      if (assistant) starts.set(assistant.id, turn);
      return turn;
    });
    // A turn has the first message of its answer; with tools there are more, and they follow it in the list of all.
    let turn;
    for (const message of messages) {
      turn = starts.get(message.id) ?? turn;
      turn?.messages.push(message);
    }
    turns.forEach(({ partial }, number) => partial && this.turns[number].messages.push(partial));
  }

  /** Take the next event of the log. */
  push(event) {
    if (event.type === "user_message") {
      this.turns.push({ user: event.message, messages: [] });
      this.busy = true;
      return;
    }
    const turn = this.turns.at(-1);
    if (!turn) return; // an answer to nothing that this page was told of
    if (event.type === "error") {
      turn.error = event.error;
      this.busy = false;
    } else if (event.type === "message_start") {
      turn.messages.push({ ...event.message, content: [] });
      this.busy = true;
    } else if (turn.messages.length > 0) {
      this.#pushToMessage(turn, turn.messages.at(-1), event);
    }
  }

  #pushToMessage(turn, message, { type, index, ...event }) {
    const block = message.content[index];
    if (type === "content_block_start") message.content[index] = { ...event.content_block };
    else if (type === "content_block_delta" && block) addDelta(block, event.delta);
    else if (type === "content_block_stop" && block) finishInput(block);
    else if (type === "message_delta") message.stop_reason = event.delta.stop_reason;
    else if (type === "message_stop") {
      if (message.stop_reason === null) turn.stopped = true;
      this.busy = message.stop_reason === "tool_use"; // then the next message follows
    }
  }
}

function addDelta(block, delta) {
  if (delta.type === "text_delta") block.text += delta.text;
  else if (delta.type === "thinking_delta") block.thinking += delta.thinking;
  else if (delta.type === "input_json_delta") block.written = (block.written ?? "") + delta.partial_json;
}

/** The input of a tool comes as JSON in pieces; what was cut off is shown as it was written. */
function finishInput(block) {
  if (!block.written) return;
  try {
    block.input = JSON.parse(block.written);
    delete block.written;
  } catch {
    return;
  }
}
