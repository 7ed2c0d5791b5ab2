// A run as its steps, and its log as records.

import { element, reconcile } from "./elements.js";
import { showMarkdown } from "./markdown.js";
import { clock } from "./times.js";

/** Show the steps that `records` tell of in the list `thread`. */
export function showSteps(thread, records) {
  const items = records.map((record) => [`record ${record.seqNum}`, "", () => makers[record.type]?.(record.body) ?? unknown(record)]);
  const last = records.at(-1);
  if (last && last.type !== "run_end") items.push(["waiting", String(records.length), () => waiting(records.length)]);
  reconcile(thread, items);
}

/** Show `records` as they are stored in the list `list`. */
export function showRecords(list, records) {
  reconcile(
    list,
    records.map((record) => [`record ${record.seqNum}`, "", () => recordItem(record)]),
  );
}

const makers = {
  run_start: ({ prompt }) => item("user", "Task", element("p", { class: "question" }, prompt)),
  step({ index, text, toolCalls, toolResults, tokens }) {
    const said = element("div", { class: "markdown" });
    showMarkdown(said, text);
    const calls = toolCalls.map((call) => toolCall(call, toolResults.find(({ id }) => id === call.id)));
    const parts = element("div", { class: "parts" }, text !== "" && said, calls);
    const title = element("span", {}, `Step ${index + 1}`, element("span", { class: "cost" }, `${tokens} tokens`));
    return item("assistant", title, parts);
  },
  run_end({ steps, totalTokens, error }) {
    const told = error ? `[error: ${error}]` : `Finished in ${steps === 1 ? "one step" : `${steps} steps`}, ${totalTokens} tokens.`;
    const ending = { class: "ending", "data-kind": error ? "error" : "end", "data-testid": "ending" };
    return element("li", { class: "message", "data-role": "user" }, element("p", ending, told));
  },
};

function item(role, who, content) {
  const message = { class: "message", "data-role": role, "data-testid": role === "user" ? "task" : "step" };
  return element("li", message, element("p", { class: "who" }, who), content);
}

function unknown({ type }) {
  return element("li", { class: "message" }, element("p", { class: "who" }, type ?? "a record of another kind"));
}

function waiting(step) {
  return element("li", { class: "waiting", "aria-label": `Step ${step} is being made` });
}

function toolCall({ name, input }, result) {
  const given = Object.values(input).join(", ");
  const summary = element("summary", {}, element("code", {}, name), " ", element("span", {}, given));
  const state = result?.isError ? "output-error" : "output-available";
  const about = { class: "aside tool", "data-state": state, "data-testid": "tool" };
  return element("details", about, summary, value("Input", input), result && value("Output", parsed(result.output)));
}

function value(label, content) {
  const text = typeof content === "string" ? content : JSON.stringify(content, null, 2);
  return element("figure", {}, element("figcaption", {}, label), element("pre", {}, text));
}

/** The output of a tool: JSON laid out, anything else as it is. */
function parsed(output) {
  try {
    return JSON.parse(output);
  } catch {
    return output;
  }
}

function recordItem({ seqNum, timestamp, type, bytes, body }) {
  const summary = element(
    "summary",
    {},
    element("code", { class: "seq-num" }, String(seqNum)),
    element("span", { class: "type" }, type ?? "?"),
    element("span", { class: "size" }, `${bytes} bytes`),
    element("time", {}, clock(timestamp)),
  );
  return element("li", { "data-testid": "record" }, element("details", {}, summary, element("pre", {}, JSON.stringify(body, null, 2))));
}
