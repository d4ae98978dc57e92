"""datamodel-code-generator (models only, the requests are httpx): register, subscribe, invoke, wait, usage, webhook."""

from __future__ import annotations

import httpx
from datamodel import (
    Credentials,
    InvocationAnswer,
    Registration,
    SubmitIn,
    SubscribeIn,
    TokenPairAnswer,
    ToolInputRejectedProblem,
    UsageReportAnswer,
    WebhookSecretAnswer,
)
from hub import HUB, TOOL, account, receiver, tell, verified
from pydantic import BaseModel

API = f"{HUB}/api/v1"


def sent(body: BaseModel) -> dict[str, object]:
    return body.model_dump(mode="json", exclude_unset=True, by_alias=True)


def story() -> None:
    person = account("datamodel-code-generator")
    hub = httpx.Client(base_url=API, timeout=60)
    hub.post("/auth/register", json=sent(Registration.model_validate(person))).raise_for_status()
    credentials = Credentials.model_validate({name: person[name] for name in ("email", "password")})
    login = hub.post("/auth/login", json=sent(credentials)).raise_for_status()
    pair = TokenPairAnswer.model_validate_json(login.content).data
    hub.headers["Authorization"] = f"Bearer {pair.access_token}"
    hub.post("/subscriptions/subscribe", json=sent(SubscribeIn(plan="free"))).raise_for_status()
    with receiver() as (url, arrived):
        order = SubmitIn.model_validate({"input": {"text": "abc"}, "webhook_url": url})
        submitted = InvocationAnswer.model_validate_json(hub.post(f"/tools/{TOOL}/invoke", json=sent(order)).content)
        waited = hub.get(f"/invocations/{submitted.data.id}", params={"wait": 30})
        invocation = InvocationAnswer.model_validate_json(waited.content).data
        received = arrived.get(timeout=30)
    usage = UsageReportAnswer.model_validate_json(hub.get("/usage/summary").content).data
    secret = WebhookSecretAnswer.model_validate_json(hub.get("/webhooks/default-secret").content).data.secret
    refusal = hub.post(f"/tools/{TOOL}/invoke", json=sent(SubmitIn(input={"text": 5})))
    tell(
        "datamodel-code-generator",
        status=invocation.status.value,
        output=invocation.output,
        tokens=usage.totals.tokens_used,
        webhook=verified(received, secret),
        refused=ToolInputRejectedProblem.model_validate_json(refusal.content).code,
    )


story()
