/** What orval's functions call: the address and the credentials are not theirs to know. */
import { AsyncLocalStorage } from "node:async_hooks";
import { HUB } from "./hub";

export const session = new AsyncLocalStorage<{ token?: string }>();

export async function hubFetch<T>(url: string, options: RequestInit): Promise<T> {
  const token = session.getStore()?.token;
  const credentials = token ? { Authorization: `Bearer ${token}` } : undefined;
  const response = await fetch(`${HUB}${url}`, { ...options, headers: { ...options.headers, ...credentials } });
  const text = await response.text();
  return { status: response.status, data: text ? JSON.parse(text) : undefined, headers: response.headers } as T;
}
