// An agent's runs. What is shown of a run are the records of its log: those that are there, then the others as they come.

import { subscribe } from "/web/anthropic.js";
import { Composer } from "./composer.js";
import { Connection, pause } from "./connection.js";
import { element, one, reconcile } from "./elements.js";
import { showInfo, startFrame } from "./frame.js";
import { followEnd } from "./scroll.js";
import { showRecords, showSteps } from "./steps.js";
import { timeAgo } from "./times.js";

const API = "/api/agent/runs";
const REFRESH_MS = 3000;
const RETRY_MS = 1000;
const NOT_FOUND = 404;

const runId = new URLSearchParams(location.search).get("run");
const connection = new Connection(() => composer.update({ offline: connection.isOffline }));
const composer = new Composer({ key: "agent-draft", onSend: start });
const records = [];
let refreshing;

startFrame();
showInfo().catch(() => {});
composer.update({ status: "ready" });
composer.show();
for (const opener of document.querySelectorAll(".openers button")) opener.onclick = () => start(opener.textContent);
document.addEventListener("visibilitychange", refreshList);
void refreshList();
one("#second-tab").href = location.search;
one(".empty-chat").hidden = runId !== null;
one(".thread").hidden = one(".records").hidden = runId === null;
if (runId !== null) {
  one("#stream-name").textContent = `agent/run-${runId}`;
  followEnd();
  void followRun();
}

/** Begin a run, and go to its page. */
async function start(prompt) {
  composer.notice();
  try {
    const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ prompt }) };
    const response = await connection.fetch(API, init);
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    location.assign(`/agent?run=${(await response.json()).id}`);
  } catch {
    composer.giveBack(prompt, "Your task did not get through, so it is back in the box.");
  }
}

/** The log of this run, to its end. */
async function followRun() {
  // Each time from where the page is: a cursor is the number of the next record.
  const url = (cursor = records.length) => `${API}/${encodeURIComponent(runId)}/events?from=${cursor}`;
  while (!isOver()) {
    try {
      for await (const record of subscribe({ url, whileVisible: true, fetch: connection.fetch })) take(record);
    } catch (error) {
      if (error.status === NOT_FOUND) return showMissing();
      console.warn("The log is read anew.", error);
    }
    if (!isOver()) await pause(RETRY_MS);
  }
}

function take(record) {
  records.push(record);
  if (record.type === "run_start") {
    one("h1").textContent = record.body.prompt;
    document.title = `${record.body.prompt} · Perdure`;
  }
  showSteps(one(".thread"), records);
  showRecords(one(".records ol"), records);
  one(".records ol").lastElementChild.scrollIntoView({ block: "nearest" });
  const end = records.at(-1).type === "run_end" ? records.at(-1).body : undefined;
  showStatus(end ? (end.error ? "failed" : "finished") : "running");
}

function isOver() {
  return records.at(-1)?.type === "run_end";
}

function showStatus(status) {
  const shown = one(".records .status");
  shown.textContent = status;
  shown.dataset.status = { running: "streaming", finished: "ready", failed: "error" }[status];
}

function showMissing() {
  one(".records").hidden = true;
  one(".viewport-content").append(element("p", { class: "ending", "data-testid": "missing" }, "There is no such run."));
}

/** The runs beside the steps, kept fresh while somebody looks. */
async function refreshList() {
  clearTimeout(refreshing);
  if (document.hidden) return;
  try {
    showRuns((await (await fetch(API)).json()).runs);
  } catch {
    // The followed run tells that the server is away, and the next try comes soon.
  }
  clearTimeout(refreshing);
  refreshing = setTimeout(refreshList, REFRESH_MS);
}

function showRuns(runs) {
  one(".chat-list").hidden = runs.length === 0;
  one(".chat-list-empty").hidden = runs.length > 0;
  reconcile(
    one(".chat-list"),
    runs.map((run) => [run.id, `${run.active} ${timeAgo(run.timestamp)}`, () => runItem(run)]),
  );
}

function runItem({ id, prompt, timestamp, active }) {
  const link = element(
    "a",
    { href: `/agent?run=${id}`, "aria-current": id === runId ? "page" : undefined },
    element("span", { class: "chat-title" }, prompt),
    element("span", { class: "chat-when" }, active ? "working…" : timeAgo(timestamp)),
  );
  return element("li", { class: "chat-list-item", "data-testid": "run-list-item", "data-active": String(active) }, link);
}
