// What every plain page has around its content: the menu of narrow screens, who answers, the version.

import { one } from "./elements.js";

export function startFrame() {
  const app = one(".app");
  const button = one(".menu-button");
  const setMenu = (open) => {
    app.dataset.menu = open ? "open" : "closed";
    button.setAttribute("aria-expanded", String(open));
  };
  button.addEventListener("click", () => setMenu(app.dataset.menu !== "open"));
  one(".scrim").addEventListener("click", () => setMenu(false));
  addEventListener("keydown", (event) => event.key === "Escape" && setMenu(false));
}

/** Show what the server says about itself. */
export async function showInfo() {
  const response = await fetch("/api/info");
  if (!response.ok) return;
  const { version, messagesModel } = await response.json();
  one("#version").textContent = `perdure ${version}`;
  const badge = one(".model-badge");
  badge.hidden = false;
  badge.dataset.kind = messagesModel.kind;
  badge.title = messagesModel.note;
  badge.textContent = messagesModel.kind === "stand-in" ? "Local stand-in, no AI" : messagesModel.name;
  for (const note of document.querySelectorAll(".model-note")) note.textContent = messagesModel.note;
}
