/** openapi-typescript and openapi-fetch: register, subscribe, invoke, wait, usage, verify a webhook. */
import createClient from "openapi-fetch";
import { HUB, TOOL, account, must, receiver, short, tell, verified } from "./hub";
import type { paths } from "./openapi_typescript/schema";

async function story(): Promise<void> {
  const hub = createClient<paths>({ baseUrl: HUB });
  const body = account("openapi-fetch");
  await hub.POST("/api/v1/auth/register", { body });
  const login = await hub.POST("/api/v1/auth/login", { body: { email: body.email, password: body.password } });
  const token = must(login.data, login.error).data.access_token;
  hub.use({ onRequest: ({ request }) => request.headers.set("Authorization", `Bearer ${token}`) });
  await hub.POST("/api/v1/subscriptions/subscribe", { body: { plan: "free" } });

  const webhooks = await receiver();
  const submitted = await hub.POST("/api/v1/tools/{tool}/invoke", {
    params: { path: { tool: TOOL } },
    body: { input: { text: "abc" }, webhook_url: webhooks.url },
  });
  const { id } = must(submitted.data, submitted.error).data;
  const waited = await hub.GET("/api/v1/invocations/{invocation_id}", {
    params: { path: { invocation_id: id }, query: { wait: 30 } },
  });
  const invocation = must(waited.data, waited.error).data;
  const usage = await hub.GET("/api/v1/usage/summary");
  const secret = await hub.GET("/api/v1/webhooks/default-secret");
  const refusal = await hub.POST("/api/v1/tools/{tool}/invoke", {
    params: { path: { tool: TOOL } },
    body: { input: { text: 5 } },
  });
  const problem = must(refusal.error, refusal.data);
  tell("openapi-fetch", {
    status: invocation.status,
    output: invocation.output,
    tokens: must(usage.data, usage.error).data.totals.tokens_used,
    webhook: verified(await webhooks.first, must(secret.data, secret.error).data.secret),
    refused: problem.code === "budget_exhausted" ? short(problem.shortfall) : problem.code,
  });
  webhooks.close();
}

void story();
