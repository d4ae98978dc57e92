/** What the stories have in common: where the platform is, a new account, a receiver of webhooks, and what is told. */
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Webhook } from "standardwebhooks";

export const HUB = process.env.HUB_URL ?? "http://localhost:8000";
export const TOOL = process.env.HUB_TOOL ?? "echo";

export function account(story: string) {
  return { email: `${story}-${randomUUID()}@example.com`, password: "a quiet green river", name: story };
}

export interface Received {
  body: string;
  headers: Record<string, string>;
}

/** Listens on a port of this machine. `first` is the first webhook that comes. */
export async function receiver() {
  let arrive: (received: Received) => void;
  const first = new Promise<Received>((resolve) => (arrive = resolve));
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    response.writeHead(204).end();
    arrive({ body: Buffer.concat(chunks).toString(), headers: request.headers as Record<string, string> });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
  return { url, first, close: () => server.closeAllConnections() ?? server.close() };
}

/** The type of a webhook whose signature the reference library has verified. */
export function verified({ body, headers }: Received, secret: string): string {
  return (new Webhook(secret).verify(body, headers) as { type: string }).type;
}

/** What a story has seen, as a line of JSON for whoever runs it. */
export interface Told {
  status: string;
  output: unknown;
  tokens: number;
  webhook: string;
  refused: string;
}

/** The members of a code are known by its type: `budget_exhausted` alone has a shortfall. */
export const short = (shortfall: number | undefined) => `short of ${shortfall} tokens`;

export function tell(story: string, told: Told): void {
  console.log(JSON.stringify({ story, ...told }));
}

/** What must be there, or the story ends here with what was answered instead. */
export function must<T>(value: T | null | undefined, answered: unknown): T {
  if (value === null || value === undefined) throw new Error(`refused: ${JSON.stringify(answered)}`);
  return value;
}
