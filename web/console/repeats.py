"""Forms that are sent twice, by a double click or a reload, are carried out once: each brings a key of its own.

{{ m.once() }}                                     in the form
sent = forms.load(SomeForm)                        a `RepeatableForm`
webhooks.create(…, once=repeats.of(sent))
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import request

from common.identity.idempotency import Once, Request
from web.console.forms import Form
from web.http import auth
from web.http.fields import Text


class RepeatableForm(Form):
    """A form with the macro `once`. Programs that send none are not kept from repeating."""

    once = Text(min=8, max=64, line=True)


def of(sent: Mapping[str, object]) -> Once:
    """The request as the verb knows it again: by the form's key, its address and what was typed."""
    once = sent.get("once")
    if once is None:
        return None
    typed = {name: str(value) for name, value in sent.items() if name not in ("once", "current_password")}
    return Request.of(auth.caller().user_id, f"console-{once}", request.method, request.path, typed)
