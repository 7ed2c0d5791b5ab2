// The routes of the demo's server.

import type { UIMessage } from "ai";

export const CHAT_API = "/api/chat";

export interface ModelInfo {
  name: string;
  kind: "stand-in" | "provider";
  note: string;
}

export interface ServerInfo {
  version: string;
  /** Who answers on the AI SDK page. */
  model: ModelInfo;
  /** Who answers on the others. */
  messagesModel: ModelInfo;
}

export type ChatKind = "aisdk" | "anthropic" | "tanstack";

export interface ChatSummary {
  id: string;
  /** The page that the chat belongs to. */
  kind: ChatKind;
  title: string;
  updatedAt: number;
  active: boolean;
}

export function isOf(kind: ChatKind, chat: ChatSummary): boolean {
  return chat.kind === kind;
}

export function historyUrl(chatId: string): string {
  return `${CHAT_API}/${chatId}/history`;
}

export function watchUrl(chatId: string): string {
  return `${CHAT_API}/${chatId}/watch`;
}

export class ServerError extends Error {
  override name = "ServerError";
}

export async function getInfo(): Promise<ServerInfo> {
  return (await request("/api/info")).json();
}

export async function getChats(): Promise<ChatSummary[]> {
  return (await (await request("/api/chats")).json()).chats;
}

export async function deleteChat({ id, kind }: ChatSummary): Promise<void> {
  await request(`/api/chats/${id}?kind=${kind}`, { method: "DELETE" });
}

export async function getHistory(chatId: string, signal: AbortSignal): Promise<UIMessage[]> {
  return (await (await request(historyUrl(chatId), { signal })).json()).messages;
}

/** Ends the running turn for everybody; false when there was none. */
export async function stopTurn(chatId: string): Promise<boolean> {
  return (await request(`${CHAT_API}/${chatId}/stop`, { method: "POST" })).status !== 204;
}

async function request(url: string, init?: RequestInit): Promise<Response> {
  const response = await fetch(url, init);
  if (!response.ok) throw new ServerError((await response.text()) || `HTTP ${response.status}`);
  return response;
}
