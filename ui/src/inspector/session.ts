// What the user gave to this tab: an access token, and keys of encrypted streams. Both end with the tab.

const TOKEN = "perdure.access-token";
const KEY_PREFIX = "perdure.encryption-key:";

export function storedToken(): string | undefined {
  return sessionStorage.getItem(TOKEN) ?? undefined;
}

export function storeToken(token: string | undefined): void {
  if (token === undefined) sessionStorage.removeItem(TOKEN);
  else sessionStorage.setItem(TOKEN, token);
}

export function storedKey(basin: string, stream: string): string | undefined {
  return sessionStorage.getItem(keyName(basin, stream)) ?? undefined;
}

export function storeKey(basin: string, stream: string, key: string): void {
  sessionStorage.setItem(keyName(basin, stream), key);
}

function keyName(basin: string, stream: string): string {
  return `${KEY_PREFIX}${basin}/${stream}`;
}
