// The pages that chats belong to, by the kind that the server gives each chat.

export const PATHS = { aisdk: "/", anthropic: "/anthropic", tanstack: "/tanstack" };
export const NAMES = { aisdk: "AI SDK", anthropic: "Anthropic", tanstack: "TanStack" };

/** Where a chat is shown. */
export const urlOf = ({ kind, id }) => `${PATHS[kind]}?chat=${id}`;
