// The stock clients of tests/npm, each behind one constructor: `new Chat({ id, transport, ... })`.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(new URL("../npm/package.json", import.meta.url));
const load = (name) => import(pathToFileURL(require.resolve(name)));

/** What every `Chat` class of a UI framework adds to `AbstractChat`: somewhere to keep its state. */
class PlainState {
  status = "ready";
  error = undefined;
  messages = [];
  pushMessage = (message) => (this.messages = this.messages.concat(message));
  popMessage = () => (this.messages = this.messages.slice(0, -1));
  replaceMessage = (index, message) => (this.messages = this.messages.with(index, this.snapshot(message)));
  snapshot = (value) => structuredClone(value);
}

async function plainClient(name) {
  const { AbstractChat, DefaultChatTransport } = await load(name);
  class Chat extends AbstractChat {
    constructor({ messages = [], ...options }) {
      super({ ...options, state: Object.assign(new PlainState(), { messages }) });
    }
  }
  return { Chat, DefaultChatTransport };
}

async function reactClient() {
  const { DefaultChatTransport } = await load("ai");
  const { Chat } = await load("@ai-sdk/react");
  return { Chat, DefaultChatTransport };
}

/** As `useChat` of @ai-sdk/react 3 makes it: its wrapper around the transport hides that a resumed body is a replay. */
async function hookOfVersion6() {
  const { Chat, DefaultChatTransport } = await plainClient("ai6");
  class HookChat extends Chat {
    constructor({ transport, ...options }) {
      const wrapper = {
        sendMessages: (request) => transport.sendMessages(request),
        reconnectToStream: (request) => transport.reconnectToStream(request),
      };
      super({ ...options, transport: wrapper });
    }
  }
  return { Chat: HookChat, DefaultChatTransport };
}

export const clients = {
  "ai 5": await plainClient("ai5"),
  "ai 6": await plainClient("ai6"),
  "ai 6 in its hook": await hookOfVersion6(),
  "ai 7": await plainClient("ai"),
  "@ai-sdk/react 4": await reactClient(),
};
