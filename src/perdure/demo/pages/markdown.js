// The Markdown that models write, as elements: blocks by line, then what is inside a line. Everything that is not
// recognised stays the text that it is.

import { element, reconcile } from "./elements.js";

/** Show `text` in `parent`; of a text that grows, only the blocks that changed are made anew. */
export function showMarkdown(parent, text) {
  reconcile(
    parent,
    blocksOf(text).map((block) => [block.kind, block.lines.join("\n"), () => makers[block.kind](block)]),
  );
}

const FENCE = /^\s{0,3}(```+|~~~+)\s*(\S*)/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

function blocksOf(text) {
  const lines = text.split("\n");
  const blocks = [];
  let at = 0;
  const take = (kind, belongs, extra = {}) => {
    const first = at;
    do at++;
    while (at < lines.length && belongs(lines[at]));
    blocks.push({ kind, lines: lines.slice(first, at), ...extra });
  };
  while (at < lines.length) {
    const line = lines[at];
    if (line.trim() === "") at++;
    else if (FENCE.test(line)) takeCode();
    else if (/^#{1,6}\s/.test(line)) take("heading", () => false);
    else if (RULE.test(line)) take("rule", () => false);
    else if (/^\s{0,3}>/.test(line)) take("quote", (next) => /^\s{0,3}>/.test(next));
    else if (isTable(at)) take("table", (next) => next.includes("|"));
    else if (ITEM.test(line)) take("list", (next) => ITEM.test(next) || /^\s+\S/.test(next));
    else take("paragraph", (next) => next.trim() !== "" && !begins(next) && !isTable(at));
  }
  return blocks;

  function takeCode() {
    const [, fence, language] = FENCE.exec(line());
    const first = ++at;
    while (at < lines.length && !line().trimStart().startsWith(fence)) at++;
    blocks.push({ kind: "code", lines: [language, ...lines.slice(first, at)] });
    at++;
  }
  function line() {
    return lines[at];
  }
  function isTable(index) {
    return lines[index].includes("|") && TABLE_RULE.test(lines[index + 1] ?? "") && lines[index + 1].includes("-");
  }
}

function begins(line) {
  return FENCE.test(line) || /^#{1,6}\s/.test(line) || /^\s{0,3}>/.test(line) || ITEM.test(line) || RULE.test(line);
}

const makers = {
  paragraph: ({ lines }) => element("p", {}, inline(lines.join("\n"))),
  heading({ lines: [line] }) {
    const [, marks, text] = /^(#+)\s+(.*?)\s*#*$/.exec(line) ?? [line, "#", line];
    return element(`h${Math.min(marks.length + 2, 6)}`, {}, inline(text)); // the page's own headings are h1 and h2
  },
  rule: () => element("hr"),
  quote({ lines }) {
    const quote = element("blockquote");
    showMarkdown(quote, lines.map((line) => line.replace(/^\s{0,3}> ?/, "")).join("\n"));
    return quote;
  },
  code({ lines: [language, ...lines] }) {
    const code = element("pre", { tabindex: 0 }, element("code", {}, lines.join("\n")));
    return element("figure", { class: "code-block" }, element("figcaption", {}, language || "text"), code);
  },
  list: ({ lines }) => list(lines),
  table({ lines: [head, rule, ...rows] }) {
    const align = cells(rule).map((cell) => (/^:-+:$/.test(cell) ? "center" : /:$/.test(cell) ? "right" : undefined));
    const row = (tag, line) =>
      element("tr", {}, cells(line).map((cell, index) => element(tag, { "data-align": align[index] }, inline(cell))));
    const body = element("tbody", {}, rows.map((line) => row("td", line)));
    const table = element("table", {}, element("thead", {}, row("th", head)), body);
    return element("div", { class: "table-frame", tabindex: 0, role: "group", "aria-label": "Table" }, table);
  },
};

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
}

/** A list; lines that are indented deeper belong to the item before them. */
function list(lines) {
  const [, indent, mark] = ITEM.exec(lines[0]);
  const items = [];
  for (const line of lines) {
    const found = ITEM.exec(line);
    if (found && found[1].length <= indent.length) items.push([found[3]]);
    else items.at(-1).push(line.trimStart() === line ? line : line.slice(indent.length + mark.length + 1));
  }
  const ordered = /\d/.test(mark);
  return element(
    ordered ? "ol" : "ul",
    ordered && parseInt(mark, 10) !== 1 ? { start: parseInt(mark, 10) } : {},
    items.map(([first, ...rest]) => {
      const item = element("li", {}, inline(first));
      if (rest.some((line) => line.trim() !== "")) {
        const inner = element("div");
        showMarkdown(inner, rest.join("\n"));
        item.append(...inner.childNodes);
      }
      return item;
    }),
  );
}

const INLINE =
  /(?<code>`+)(?<codeText>.+?)\k<code>|\*\*(?<strong>\S(?:.*?\S)?)\*\*|(?<![\w*])[*_](?<em>\S(?:.*?\S)?)[*_](?![\w*])|\[(?<label>[^\]]+)\]\((?<href>[^)\s]+)\)|\\(?<escaped>[\\`*_[\]#|>~-])/gs;

function inline(text) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    nodes.push(text.slice(end, match.index));
    end = match.index + match[0].length;
    const { codeText, strong, em, label, href, escaped } = match.groups;
    if (codeText !== undefined) nodes.push(element("code", {}, codeText.trim()));
    else if (strong !== undefined) nodes.push(element("strong", {}, inline(strong)));
    else if (em !== undefined) nodes.push(element("em", {}, inline(em)));
    else if (escaped !== undefined) nodes.push(escaped);
    else nodes.push(link(label, href));
  }
  nodes.push(text.slice(end));
  return nodes.filter((node) => node !== "");
}

/** A link that a model wrote; what is no address on the web stays text. */
function link(label, href) {
  const isWeb = URL.canParse(href) && ["http:", "https:", "mailto:"].includes(new URL(href).protocol);
  const inside = inline(label);
  if (!isWeb) return element("span", {}, inside);
  return element("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, inside);
}
