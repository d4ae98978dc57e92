/**
 * A client for TypeScript in one file: copy it, and generate the types beside it.
 *
 *     npx openapi-typescript "$HUB/api/v1/openapi.json" -o openapi_typescript/schema.d.ts --default-non-nullable=false
 *
 * It needs `fetch` and Web Crypto: Node 20, Deno, Bun, a worker, a browser (without the API key).
 */
import type { components, webhooks } from "./openapi_typescript/schema";

type Schemas = components["schemas"];
export type Invocation = Schemas["Invocation"];
export type Problem = Schemas["Problem"];
export type SubmitOptions = Omit<Schemas["SubmitIn"], "input"> & { idempotencyKey?: string };
type Body = webhooks[keyof webhooks]["post"]["requestBody"]["content"]["application/json"];
/** What a webhook brings, told apart by `type`; `id` is the same for every delivery of the event. */
export type Event = Body & { id: string };
/** A server-sent event of an invocation. */
export type StreamEvent =
  | { id: string; event: "output.delta" | "output.snapshot"; data: Schemas["OutputPart"] }
  | { id: string; event: "output.reset"; data: Schemas["OutputReset"] }
  | { id: string; event: "snapshot" | Schemas["InvocationEventType"]; data: Invocation };

export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(`${problem.status} ${problem.code}: ${problem.detail} (request ${problem.request_id})`);
  }
}

/** The invocation ended otherwise than succeeded. */
export class InvocationFailed extends Error {
  constructor(readonly invocation: Invocation) {
    super(`${invocation.id} ${invocation.status}: ${invocation.error?.detail ?? invocation.billing.reason}`);
  }
}

/** The time is over; the invocation goes on, and can be waited for again. */
export class WaitTimeout extends Error {
  constructor(readonly invocation: Invocation) {
    super(`${invocation.id} is still ${invocation.status}`);
  }
}

export class SignatureError extends Error {}

const ENDS: readonly string[] = ["succeeded", "failed", "canceled", "expired"] satisfies Invocation["status"][];
const RETRIES = 4;
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export class Joyfull {
  constructor(private readonly options: { baseUrl: string; apiKey: string; fetch?: typeof fetch }) {}

  /** Submits, waits, and returns the output. Throws InvocationFailed, WaitTimeout, ApiError. */
  async run(tool: string, input: unknown, options: SubmitOptions & { timeout?: number } = {}): Promise<unknown> {
    const { timeout, ...rest } = options;
    const submitted = await this.submit(tool, input, rest);
    const ended = await this.wait(submitted.id, { timeout });
    if (ended.status !== "succeeded") throw new InvocationFailed(ended);
    return ended.output;
  }

  /** Always with an Idempotency-Key: however often it is sent, there is one invocation and one charge. */
  async submit(tool: string, input: unknown, options: SubmitOptions = {}): Promise<Invocation> {
    const { idempotencyKey = crypto.randomUUID(), ...rest } = options;
    return this.invocation(`/tools/${encodeURIComponent(tool)}/invoke`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": idempotencyKey },
      body: JSON.stringify({ input, ...rest } satisfies Schemas["SubmitIn"]),
    });
  }

  /** The invocation at its end, whatever that is. `timeout` is in seconds. */
  async wait(id: string, { timeout = 300 }: { timeout?: number } = {}): Promise<Invocation> {
    const until = Date.now() + timeout * 1000;
    for (;;) {
      const slice = Math.max(1, Math.min(30, Math.floor((until - Date.now()) / 1000)));
      const invocation = await this.invocation(`/invocations/${id}?wait=${slice}`);
      if (ENDS.includes(invocation.status)) return invocation;
      if (Date.now() >= until) throw new WaitTimeout(invocation);
    }
  }

  /** Every event until the end, each once: it reconnects after the last that came. */
  async *events(id: string, { lastEventId = "" } = {}): AsyncGenerator<StreamEvent> {
    for (let silent = 0; silent <= RETRIES; silent += 1) {
      const headers = { Accept: "text/event-stream", ...(lastEventId && { "Last-Event-ID": lastEventId }) };
      try {
        const response = await this.send(`/invocations/${id}/events`, { headers });
        for await (const event of parsed(response.body!)) {
          silent = 0;
          lastEventId = event.id;
          yield event;
          if ("status" in event.data && ENDS.includes(event.data.status)) return;
        }
      } catch (error) {
        if (error instanceof ApiError) throw error; // anything else is the network: again
      }
      await pause(500 * 2 ** silent);
    }
    throw new WaitTimeout(await this.invocation(`/invocations/${id}`));
  }

  private async invocation(path: string, init?: RequestInit): Promise<Invocation> {
    const answer = (await (await this.send(path, init)).json()) as Schemas["InvocationAnswer"];
    return answer.data;
  }

  /** Sends, and sends again what was lost or refused for the moment. Everything here can be repeated. */
  private async send(path: string, init: RequestInit = {}): Promise<Response> {
    const { baseUrl, apiKey, fetch: send = fetch } = this.options;
    const headers = { ...init.headers, "X-API-Key": apiKey };
    for (let attempt = 0; ; attempt += 1) {
      const response = await send(`${baseUrl}/api/v1${path}`, { ...init, headers }).catch((error: unknown) => {
        if (attempt >= RETRIES) throw error;
      });
      if (response?.ok) return response;
      if (response && (attempt >= RETRIES || ![408, 429, 502, 503, 504].includes(response.status))) {
        throw await refusal(response);
      }
      const after = Number(response?.headers.get("Retry-After") ?? 0);
      await pause(Math.max(after * 1000, 500 * 2 ** attempt * (0.5 + Math.random() / 2)));
    }
  }
}

/** What the platform says of a refusal; what stands before the platform may say it in other words. */
async function refusal(response: Response): Promise<Error> {
  const isProblem = response.headers.get("Content-Type")?.startsWith("application/problem+json");
  return isProblem ? new ApiError((await response.json()) as Problem) : new Error(`HTTP ${response.status}`);
}

/** The events of a stream (https://html.spec.whatwg.org/multipage/server-sent-events.html); comments are left out. */
async function* parsed(body: ReadableStream<Uint8Array>): AsyncGenerator<StreamEvent> {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = blocks.pop()!;
      for (const block of blocks) {
        const lines = block.split("\n").map((line) => line.match(/^(id|event|data): ?(.*)$/));
        const found = Object.fromEntries(lines.filter((line) => line !== null).map((line) => [line[1], line[2]]));
        if (found.data) yield { id: found.id, event: found.event, data: JSON.parse(found.data) } as StreamEvent;
      }
    }
  } finally {
    await reader.cancel(); // also when the caller leaves the loop
  }
}

/**
 * The event of a webhook (Standard Webhooks 1.0.0) after verifying its signature. `body` is as it came, not parsed;
 * several secrets while one is rotated; `tolerance` is in seconds. Throws SignatureError.
 */
export async function verify(
  body: string,
  headers: Headers | Record<string, string | undefined>,
  secrets: string | string[],
  { tolerance = 300 } = {},
): Promise<Event> {
  const header = (name: string) => (headers instanceof Headers ? headers.get(name) : headers[name]) ?? "";
  const [id, timestamp] = [header("webhook-id"), header("webhook-timestamp")];
  if (!/^\d+$/.test(timestamp) || Math.abs(Date.now() / 1000 - Number(timestamp)) > tolerance) {
    throw new SignatureError("signed too long ago, or ahead of time");
  }
  const signed = new TextEncoder().encode(`${id}.${timestamp}.${body}`);
  const signatures = header("webhook-signature").split(" ").filter((each) => each.startsWith("v1,"));
  for (const secret of [secrets].flat()) {
    const raw = bytes(secret.replace(/^whsec_/, ""));
    if (!raw.length) throw new SignatureError("the secret is not one: it looks like whsec_ and base64");
    const key = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
    for (const signature of signatures) {
      // Web Crypto compares in constant time.
      if (await crypto.subtle.verify("HMAC", key, bytes(signature.slice(3)), signed)) {
        return { ...(JSON.parse(body) as Body), id };
      }
    }
  }
  throw new SignatureError("no signature fits: another secret, or the body was changed on the way");
}

function bytes(base64: string) {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    return new Uint8Array(); // fits nothing
  }
}
