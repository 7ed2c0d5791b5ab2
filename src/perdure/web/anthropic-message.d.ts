/** A message as the API gives it without streaming: a `Message` of `@anthropic-ai/sdk`. */
export interface AnthropicMessage {
  id: string;
  type: "message";
  role: "assistant";
  model: string;
  content: Array<{ type: string; [key: string]: any }>;
  stop_reason: string | null;
  stop_sequence: string | null;
  usage: { [key: string]: any };
  [key: string]: any;
}

/** Events in, one by one, and the message out. A `message_start` begins the next message. */
export interface Accumulator {
  /** Take the next event; those that belong to no message, such as `user_message`, change nothing. */
  push(event: { type: string }): void;
  /** Whether the message is whole. */
  isDone(): boolean;
  /** The message; throws before it is whole. */
  finalMessage(): AnthropicMessage;
  /** Forget everything. */
  reset(): void;
}

/** An accumulator that has seen nothing. */
export function createAccumulator(): Accumulator;

/** The message that `events` amount to, the last one if they are several; throws if it is not whole. */
export function accumulateMessage(events: Iterable<{ type: string }>): AnthropicMessage;

/** One message for each `message_stop` in `events`, as soon as it comes; a message that is cut off is left out. */
export function messagesFromEvents(
  events: AsyncIterable<{ type: string }>,
): AsyncGenerator<AnthropicMessage, void, undefined>;
