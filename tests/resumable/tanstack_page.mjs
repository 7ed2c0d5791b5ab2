// A page for the browser tests: the stock clients of TanStack AI, newest and older, which the tests drive by `start` and
// look at by `state`. Bundled by esbuild; Perdure's own modules are loaded from the server, as pages load them.
import * as newest from "@tanstack/ai-client";
import * as older from "tanstack-ai-client-08";
import { createS2Connection } from "/web/tanstack-ai.js";

const CLIENTS = { newest, older };
const chunks = [];
const requests = [];
let connection;
let client;

/**
 * `form` is "session" (a subscription, and Perdure's connection), or "stock" (`fetchServerSentEvents`). The n-th body that
 * streams breaks after `cuts[n]` frames. `replay` is the query of the subscription.
 */
window.start = ({ version, form, chat, cuts = [], replay = "live=1" }) => {
  const { ChatClient, fetchServerSentEvents } = CLIENTS[version];
  const fetchClient = breakingFetch([...cuts]);
  const common = { onChunk: (chunk) => chunks.push(chunk) };
  if (form === "session") {
    const subscribeUrl = `/session/replay?id=${chat}&${replay}`;
    connection = createS2Connection({
      ...{ mode: "session", sendUrl: "/session", stopUrl: "/session", subscribeUrl, body: { id: chat } },
      ...{ reconnectBackoffMs: [0, 50], fetch: fetchClient },
    });
    client = new ChatClient({ ...common, connection, threadId: chat, id: chat });
    client.subscribe();
  } else {
    connection = fetchServerSentEvents(`/stock?id=${chat}`, { fetchClient, reconnect: { delayMs: 1 } });
    client = new ChatClient({ ...common, connection, threadId: chat, id: chat, persistence: true });
    client.attach?.();
  }
};

window.send = (text) => void client.sendMessage(text);
window.stop = async () => {
  client.stop();
  await connection.stop();
};
window.approve = (id, approved) => void client.addToolApprovalResponse({ id, approved });
window.state = () => ({
  messages: client.getMessages(),
  isLoading: client.getIsLoading(),
  isSubscribed: client.getIsSubscribed(),
  sessionGenerating: client.getSessionGenerating(),
  status: client.getStatus(),
  error: client.getError()?.message ?? null,
  chunks,
  requests,
});
window.isReady = true;

function breakingFetch(cuts) {
  return async (url, init = {}) => {
    const headers = new Headers(init.headers);
    requests.push({ method: init.method ?? "GET", url: String(url), lastEventId: headers.get("last-event-id") });
    const response = await fetch(url, init);
    const isStream = response.headers.get("content-type")?.startsWith("text/event-stream");
    const cut = isStream ? cuts.shift() : undefined;
    return cut === undefined ? response : new Response(response.body.pipeThrough(breaking(cut)), response);
  };
}

/** Lets so many frames through, and then fails, as a connection that is lost. */
function breaking(frames) {
  let pending = "";
  return new TransformStream({
    transform(bytes, controller) {
      pending += new TextDecoder().decode(bytes);
      for (let end; (end = pending.indexOf("\n\n") + 2) > 1; ) {
        const frame = pending.slice(0, end);
        pending = pending.slice(end);
        const isEvent = frame.includes("data:");
        if (isEvent && frames === 0) return controller.error(new TypeError("network error"));
        if (isEvent) frames -= 1;
        controller.enqueue(new TextEncoder().encode(frame));
      }
    },
  });
}
