"""openapi-python-client: register, subscribe, invoke, wait, usage, verify a webhook."""

from __future__ import annotations

from typing import TypeVar

from hub import HUB, TOOL, account, receiver, tell, verified
from openapi_python_client_package import AuthenticatedClient, Client
from openapi_python_client_package.api.authentication import auth_login, auth_register
from openapi_python_client_package.api.invocations import invocations_show
from openapi_python_client_package.api.subscriptions import subscriptions_subscribe
from openapi_python_client_package.api.tools import tools_invoke
from openapi_python_client_package.api.usage import usage_summary
from openapi_python_client_package.api.webhooks import webhooks_default_secret
from openapi_python_client_package.models import (
    Credentials,
    InvocationAnswer,
    Registration,
    SubmitIn,
    SubscribeIn,
    SubscriptionAnswer,
    TokenPairAnswer,
    ToolInputRejectedProblem,
    UsageReportAnswer,
    WebhookSecretAnswer,
)

Answer = TypeVar("Answer")


def expected(kind: type[Answer], answer: object) -> Answer:
    """The answer, if it is of that class; problems are classes too."""
    assert isinstance(answer, kind), answer
    return answer


def story() -> None:
    person = account("openapi-python-client")
    anybody = Client(base_url=HUB)
    auth_register.sync(client=anybody, body=Registration(**person))
    credentials = Credentials(email=person["email"], password=person["password"])
    pair = expected(TokenPairAnswer, auth_login.sync(client=anybody, body=credentials)).data
    hub = AuthenticatedClient(base_url=HUB, token=pair.access_token)
    expected(SubscriptionAnswer, subscriptions_subscribe.sync(client=hub, body=SubscribeIn(plan="free")))
    with receiver() as (url, arrived):
        order = SubmitIn(input_={"text": "abc"}, webhook_url=url)
        submitted = expected(InvocationAnswer, tools_invoke.sync(TOOL, client=hub, body=order)).data
        invocation = expected(InvocationAnswer, invocations_show.sync(submitted.id, client=hub, wait=30)).data
        received = arrived.get(timeout=30)
    usage = expected(UsageReportAnswer, usage_summary.sync(client=hub)).data
    secret = expected(WebhookSecretAnswer, webhooks_default_secret.sync(client=hub)).data.secret
    refused = tools_invoke.sync(TOOL, client=hub, body=SubmitIn(input_={"text": 5}))
    problem = expected(ToolInputRejectedProblem, refused)
    assert problem.errors and problem.errors[0].pointer == "/input/text"
    tell(
        "openapi-python-client",
        status=invocation.status.value,
        output=invocation.output,
        tokens=usage.totals.tokens_used,
        webhook=verified(received, secret),
        refused=problem.code.value,
    )


story()
