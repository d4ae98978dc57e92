/** @hey-api/openapi-ts: register, subscribe, invoke, follow the events of the invocation, usage, verify a webhook. */
import { HUB, TOOL, account, must, receiver, short, tell, verified } from "./hub";
import { client } from "./hey_api/client.gen";
import {
  authLogin,
  authRegister,
  invocationsEvents,
  subscriptionsSubscribe,
  toolsInvoke,
  usageSummary,
  webhooksDefaultSecret,
} from "./hey_api/sdk.gen";
import type { Invocation, InvocationStreamData } from "./hey_api/types.gen";

/** The invocation as it ended, from its server-sent events. */
async function ended(id: string): Promise<Invocation> {
  let last: InvocationStreamData | undefined;
  const { stream } = await invocationsEvents({ path: { invocation_id: id } });
  for await (const data of stream) last = data;
  if (last === undefined || !("status" in last)) throw new Error(`no end: ${JSON.stringify(last)}`);
  return last;
}

async function story(): Promise<void> {
  client.setConfig({ baseUrl: HUB });
  const body = account("hey-api");
  await authRegister({ body, throwOnError: true });
  const login = await authLogin({ body: { email: body.email, password: body.password }, throwOnError: true });
  client.setConfig({ auth: ({ scheme }) => (scheme === "bearer" ? login.data.data.access_token : undefined) });
  await subscriptionsSubscribe({ body: { plan: "free" }, throwOnError: true });

  const webhooks = await receiver();
  const path = { tool: TOOL };
  const order = { input: { text: "abc" }, webhook_url: webhooks.url };
  const submitted = await toolsInvoke({ path, body: order, throwOnError: true });
  const invocation = await ended(submitted.data.data.id);
  const usage = await usageSummary({ throwOnError: true });
  const secret = await webhooksDefaultSecret({ throwOnError: true });
  const refusal = await toolsInvoke({ path, body: { input: { text: 5 } } });
  const problem = must(refusal.error, refusal.data);
  tell("hey-api", {
    status: invocation.status,
    output: invocation.output,
    tokens: usage.data.data.totals.tokens_used,
    webhook: verified(await webhooks.first, secret.data.data.secret),
    refused: problem.code === "budget_exhausted" ? short(problem.shortfall) : problem.code,
  });
  webhooks.close();
}

void story();
