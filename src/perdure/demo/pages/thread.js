// The turns on their thread.

import { element, reconcile } from "./elements.js";
import { showMarkdown } from "./markdown.js";

/** Show `turns` in the list `thread`; the last answer is still being written if `busy`. */
export function showTurns(thread, turns, busy) {
  const items = [];
  turns.forEach((turn, number) => {
    const isWritten = busy && number === turns.length - 1;
    items.push([`question ${number}`, turn.user, () => question(turn.user)]);
    const parts = partsOf(turn, isWritten);
    if (parts.length > 0) items.push([`answer ${number}`, `${isWritten} ${JSON.stringify(parts)}`, (there) => answer(there, parts, isWritten)]);
    else if (isWritten) items.push([`waiting ${number}`, "", waiting]);
  });
  reconcile(thread, items);
}

/** What an answer consists of, in order. */
function partsOf(turn, isWritten) {
  const parts = turn.messages.flatMap((message, at) =>
    message.content.flatMap((block, index, blocks) => {
      const isLast = isWritten && at === turn.messages.length - 1 && index === blocks.length - 1;
      const key = `${at}.${index}`;
      if (block.type === "text" && block.text) return { key, kind: "text", text: block.text };
      if (block.type === "thinking" && block.thinking) return { key, kind: "thought", text: block.thinking, isOpen: isLast };
      if (block.type.endsWith("tool_use")) return { key, kind: "tool", name: block.name, ...inputOf(block), isOpen: isLast };
      return [];
    }),
  );
  if (turn.stopped) parts.push({ key: "end", kind: "stopped" });
  if (turn.error) parts.push({ key: "end", kind: "error", text: turn.error.message });
  return parts;
}

/** What a tool was given, in short and whole; while it is still being written, as far as it is. */
function inputOf({ written, input }) {
  if (written !== undefined) return { given: "", input: written };
  return { given: Object.values(input).join(", "), input: JSON.stringify(input, null, 2) };
}

function question(text) {
  const message = { class: "message", "data-role": "user", "data-testid": "message-user" };
  return element("li", message, element("p", { class: "who" }, "You"), element("p", { class: "question" }, text));
}

function waiting() {
  return element("li", { class: "waiting", "aria-label": "Waiting for the answer" });
}

function answer(there, parts, isWritten) {
  const item = there ?? newAnswer();
  item.dataset.streaming = isWritten;
  reconcile(
    item.lastElementChild,
    parts.map((part) => [`${part.key} ${part.kind}`, JSON.stringify(part), (before) => makers[part.kind](part, before)]),
  );
  return item;
}

function newAnswer() {
  const message = { class: "message", "data-role": "assistant", "data-testid": "message-assistant" };
  return element("li", message, element("p", { class: "who" }, "Answer"), element("div", { class: "parts" }));
}

const makers = {
  text({ text }, there = element("div", { class: "markdown" })) {
    showMarkdown(there, text);
    return there;
  },
  thought({ text, isOpen }, there) {
    const made = there ?? element("details", { class: "aside" }, element("summary"), element("div", { class: "markdown" }));
    showMarkdown(made.lastElementChild, text);
    return opened(made, isOpen, isOpen ? "Thinking…" : "How it got there");
  },
  tool({ name, given, input, isOpen }, there) {
    const summary = element("summary", {}, element("code", {}, name), " ", element("span"));
    const made = there ?? element("details", { class: "aside tool", "data-testid": "tool" }, summary, element("figure", {}, element("pre")));
    made.querySelector("pre").textContent = input;
    made.querySelector("summary span").textContent = isOpen ? "being called…" : given;
    return made;
  },
  stopped: () => element("p", { class: "ending", "data-testid": "stopped" }, "Stopped here."),
  error: ({ text }) => element("p", { class: "ending", "data-kind": "error", "data-testid": "error", role: "alert" }, `[error: ${text}]`),
};

/** Opened while it is being written and closed at the end; in between it is the reader's. */
function opened(details, isOpen, title) {
  const summary = details.firstElementChild;
  if (summary.textContent !== title) {
    summary.textContent = title;
    details.open = isOpen;
  }
  return details;
}
