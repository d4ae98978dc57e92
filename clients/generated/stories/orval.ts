/** orval, in each of its output modes: register, subscribe, invoke, wait, usage, verify a webhook. */
import { TOOL, account, receiver, short, tell, verified } from "./hub";
import * as single from "./orval/single/api";
import * as split from "./orval/split/api";
import * as tagsAuthentication from "./orval/tags/authentication";
import * as tagsInvocations from "./orval/tags/invocations";
import * as tagsSubscriptions from "./orval/tags/subscriptions";
import * as tagsTools from "./orval/tags/tools";
import * as tagsUsage from "./orval/tags/usage";
import * as tagsWebhooks from "./orval/tags/webhooks";
import * as authentication from "./orval/tags-split/authentication/authentication";
import * as invocations from "./orval/tags-split/invocations/invocations";
import * as subscriptions from "./orval/tags-split/subscriptions/subscriptions";
import * as tools from "./orval/tags-split/tools/tools";
import * as usage from "./orval/tags-split/usage/usage";
import * as webhooks from "./orval/tags-split/webhooks/webhooks";
import { session } from "./orval_fetch";

type Api = Pick<
  typeof single,
  | "authLogin"
  | "authRegister"
  | "invocationsShow"
  | "subscriptionsSubscribe"
  | "toolsInvoke"
  | "usageSummary"
  | "webhooksDefaultSecret"
>;

const modes: Record<string, Api> = {
  single,
  split,
  tags: {
    ...tagsAuthentication,
    ...tagsInvocations,
    ...tagsSubscriptions,
    ...tagsTools,
    ...tagsUsage,
    ...tagsWebhooks,
  },
  "tags-split": { ...authentication, ...invocations, ...subscriptions, ...tools, ...usage, ...webhooks },
};

/** What was answered with the status that was hoped for. */
function data<T extends { status: number; data: unknown }, S extends T["status"]>(
  answer: T,
  ...hoped: S[]
): Extract<T, { status: S }>["data"] {
  if (!hoped.includes(answer.status as S)) throw new Error(`${answer.status}: ${JSON.stringify(answer.data)}`);
  return answer.data;
}

async function story(mode: string, api: Api, own: { token?: string }): Promise<void> {
  const body = account(`orval-${mode}`);
  data(await api.authRegister(body), 201);
  own.token = data(await api.authLogin({ email: body.email, password: body.password }), 200).data.access_token;
  data(await api.subscriptionsSubscribe({ plan: "free" }), 201);

  const hooks = await receiver();
  const submitted = data(await api.toolsInvoke(TOOL, { input: { text: "abc" }, webhook_url: hooks.url }), 200, 202);
  const invocation = data(await api.invocationsShow(submitted.data.id, { wait: 30 }), 200).data;
  const { totals } = data(await api.usageSummary(), 200).data;
  const { secret } = data(await api.webhooksDefaultSecret(), 200).data;
  const problem = data(await api.toolsInvoke(TOOL, { input: { text: 5 } }), 402, 422);
  tell(`orval-${mode}`, {
    status: invocation.status,
    output: invocation.output,
    tokens: totals.tokens_used,
    webhook: verified(await hooks.first, secret),
    refused: problem.code === "budget_exhausted" ? short(problem.shortfall) : problem.code,
  });
  hooks.close();
}

for (const [mode, api] of Object.entries(modes)) {
  const own = {};
  void session.run(own, () => story(mode, api, own));
}
