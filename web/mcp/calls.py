"""`tools/call`: submit an invocation, wait a moment for it, and answer with its result, as a task or as a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NotRequired, TypedDict

from flask import Response
from marshmallow import validate

from common import errors, invocations
from common.invocations import DEFAULT_EXPIRY, MAX_EXPIRY, SubmitFields
from common.tools import Version
from web.http import auth, limits, submissions
from web.http.fields import Text, Tokens, Whole
from web.http.schemas import Body
from web.http.validation import loaded
from web.mcp import builtins, progress, results, rpc, schemas, tasks
from web.mcp.protocol import OURS
from web.mcp.rpc import Message, invalid

#: Seconds that a call waits for its end before it is answered in another way.
WAIT_SECONDS: Final = 2
#: Refusals that a model can do something about. (Of others, it is told by its client.)
_READABLE: Final = (
    errors.PaymentRequired,
    errors.Invalid,
    errors.Conflict,
    errors.SubscriptionRequired,
    errors.EmailNotVerified,
)


class CallOptionsSchema(Body):
    """What `_meta` of a call may say beside the arguments."""

    max_tokens = Tokens(data_key=f"{OURS}max-tokens")
    expires_in = Whole(1, MAX_EXPIRY, load_default=DEFAULT_EXPIRY, data_key=f"{OURS}expires-in")
    quote = Text(max=4096, data_key=f"{OURS}quote")
    idempotency_key = Text(max=255, validate=validate.Regexp(r"^[\x20-\x7e]+\Z"), data_key=f"{OURS}idempotency-key")


class CallOptions(TypedDict):
    """What `CallOptionsSchema` loads."""

    max_tokens: NotRequired[int]
    expires_in: int
    quote: NotRequired[str]
    idempotency_key: NotRequired[str]


def call(message: Message) -> Response:
    """The response to a call. Raises `RpcError`, `ScopeMissing`, and temporary refusals."""
    name, arguments = message.params.get("name"), message.params.get("arguments", {})
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise invalid("`name` must be a string, and `arguments` an object.")
    try:
        if name in builtins.NAMES:
            limits.count()
            return rpc.reply(message, builtins.call(name, arguments))
        return _submitted(message, name, arguments)
    except _READABLE as error:
        return rpc.reply(message, results.refused(error))


def _submitted(message: Message, name: str, arguments: Mapping[str, object]) -> Response:
    auth.require("invocations:write")
    options = _options(message)
    tool = invocations.visible(auth.caller(), name)
    fields = _fields(tool.current, arguments, options, stream=message.progress_token is not None)
    invocation = submissions.submit_and_wait(name, fields, WAIT_SECONDS, options.get("idempotency_key")).invocation
    if invocation.ended:
        return rpc.reply(message, results.of(message, invocation))
    if message.has_tasks:
        return rpc.reply(message, tasks.created(invocation))
    return progress.stream(message, invocation)


def _options(message: Message) -> CallOptions:
    given = {name: value for name, value in message.meta.items() if name.startswith(OURS)}
    try:
        options: CallOptions = loaded(CallOptionsSchema(), given, "`_meta`", ignore_unknown=True)
    except errors.Invalid as error:
        said = [f"{fault.pointer[1:].replace('~1', '/')}: {fault.detail}" for fault in error.errors]
        raise invalid(" ".join((error.detail, *said))) from None
    return options


def _fields(version: Version, arguments: Mapping[str, object], options: CallOptions, *, stream: bool) -> SubmitFields:
    """What is submitted: the arguments, or the one that an input was wrapped under."""
    wrapped = not schemas.takes_object(version.input_schema)
    fields = SubmitFields(
        input=arguments.get(schemas.INPUT) if wrapped else arguments, expires_in=options["expires_in"], metadata={}
    )
    if "max_tokens" in options:
        fields["max_tokens"] = options["max_tokens"]
    if "quote" in options:
        fields["quote"] = options["quote"]
    if stream and version.streaming:
        fields["stream"] = True
    return fields
