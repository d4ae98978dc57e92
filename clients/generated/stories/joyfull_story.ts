/** examples/typescript/joyfull.ts: every function of it, with a lost answer, a broken stream and forged webhooks. */
import { strict as assert } from "node:assert";
import createClient from "openapi-fetch";
import { Webhook } from "standardwebhooks";
import { HUB, TOOL, account, must, receiver, tell, verified } from "./hub";
import { ApiError, InvocationFailed, Joyfull, SignatureError, WaitTimeout, verify } from "./joyfull";
import type { paths } from "./openapi_typescript/schema";

/** Loses the answer to the first submit, and breaks off the first stream after its first event. */
function unreliable(): typeof fetch {
  const faults = new Set(["invoke", "events"]);
  return async (input, init) => {
    const response = await fetch(input, init);
    const last = String(input).split("/").pop()!;
    if (!faults.delete(last)) return response;
    if (last === "invoke") throw new TypeError("the connection was reset");
    const reader = response.body!.getReader();
    const { value } = await reader.read();
    await reader.cancel();
    return new Response(value);
  };
}

async function customer() {
  const hub = createClient<paths>({ baseUrl: HUB });
  const body = account("joyfull");
  await hub.POST("/api/v1/auth/register", { body });
  const login = await hub.POST("/api/v1/auth/login", { body: { email: body.email, password: body.password } });
  const token = must(login.data, login.error).data.access_token;
  hub.use({ onRequest: ({ request }) => request.headers.set("Authorization", `Bearer ${token}`) });
  await hub.POST("/api/v1/subscriptions/subscribe", { body: { plan: "free" } });
  const key = await hub.POST("/api/v1/users/me/api-keys", { body: { name: "story" } });
  const secret = await hub.GET("/api/v1/webhooks/default-secret");
  return { hub, apiKey: must(key.data, key.error).data.key, secret: must(secret.data, secret.error).data.secret };
}

async function forgeries(body: string, id: string, secret: string): Promise<void> {
  const sign = (at: Date) => ({
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
    "webhook-signature": new Webhook(secret).sign(id, at, body),
  });
  const [now, old] = [sign(new Date()), sign(new Date(Date.now() - 600_000))];
  const other = `whsec_${Buffer.from("another secret of this length").toString("base64")}`;
  assert.equal((await verify(body, new Headers(now), [other, secret])).id, id);
  assert.equal((await verify(body, old, secret, { tolerance: 900 })).id, id);
  await assert.rejects(verify(body, now, other), SignatureError);
  await assert.rejects(verify(`${body} `, now, secret), SignatureError);
  await assert.rejects(verify(body, old, secret), SignatureError);
  await assert.rejects(verify(body, { ...now, "webhook-id": "other" }, secret), SignatureError);
  await assert.rejects(verify(body, {}, secret), SignatureError);
}

async function story(): Promise<void> {
  const { hub, apiKey, secret } = await customer();
  const webhooks = await receiver();
  const joyfull = new Joyfull({ baseUrl: HUB, apiKey, fetch: unreliable() });

  const submitted = await joyfull.submit(TOOL, { text: "abc" }, { webhook_url: webhooks.url });
  const invocation = await joyfull.wait(submitted.id);
  const usage = await hub.GET("/api/v1/usage/summary");
  assert.equal(must(usage.data, usage.error).data.totals.invocations, 1); // although it was submitted twice

  assert.deepEqual(await joyfull.run(TOOL, { text: "abc" }), invocation.output);
  await assert.rejects(joyfull.run(process.env.HUB_BROKEN_TOOL!, { text: "abc" }), InvocationFailed);
  const later = await joyfull.submit(TOOL, { text: "a" }, { not_before: new Date(Date.now() + 3_600_000).toISOString() });
  await assert.rejects(joyfull.wait(later.id, { timeout: 1 }), WaitTimeout);
  const seen: string[] = [];
  const params = { path: { invocation_id: later.id } };
  for await (const { event } of joyfull.events(later.id)) {
    if (seen.push(event) === 1) await hub.POST("/api/v1/invocations/{invocation_id}/cancel", { params });
  }
  assert.deepEqual(seen, ["snapshot", "invocation.canceled"]); // nothing twice, although the stream broke off
  const refused = await joyfull.submit(TOOL, { text: 5 }).catch((error: unknown) => error);
  if (!(refused instanceof ApiError)) throw refused;

  const received = await webhooks.first;
  const event = await verify(received.body, received.headers, secret);
  assert.equal(verified(received, secret), event.type);
  assert(event.type === "invocation.succeeded" && event.data.id === invocation.id);
  await forgeries(received.body, event.id, secret);
  tell("joyfull", {
    status: invocation.status,
    output: invocation.output,
    tokens: invocation.billing.charged,
    webhook: event.type,
    refused: refused.problem.code,
  });
  webhooks.close();
}

void story();
