"""Notices: what a form has just done, shown by the page that it leads to (`?said=…`). Fixed sentences only."""

from __future__ import annotations

from typing import Final

from flask import request

SENTENCES: Final = {
    "signed-out": "You are signed out. The session has ended.",
    "signed-up": "Welcome. A mail with a link that confirms your address is on its way.",
    "verified": "Your e-mail address is confirmed.",
    "verification-mailed": "A mail with a new link is on its way to you.",
    "verification-sent": "If the address is not confirmed yet, a mail with a new link is on its way.",
    "reset-sent": "If an account has this address, a mail with a link is on its way. The link works for 30 minutes.",
    "password-set": "The new password is set, and all sessions have ended. Sign in with the new password.",
    "saved": "Saved.",
    "checked": "The statement was recomputed from its rows.",
    "subscribed": "You are subscribed. The tokens are available, and you can run tools.",
    "plan-changed": "The plan was changed.",
    "canceled": "The subscription was canceled.",
    "tool-created": "The tool was created. Test it here, then view it as a user.",
    "tool-changed": "Saved. New runs use this version; those that were accepted before keep theirs.",
    "tools-imported": "All the tools were created.",
    "tool-archived": "The tool is archived. New runs of it are refused; those that were accepted still run.",
    "breaker-reset": "The circuit breaker is closed, and its failure count is reset.",
    "renamed": "The name was changed.",
    "password-changed": "The new password is set. Every other session has ended; you are still signed in here.",
    "session-ended": "The session has ended.",
    "others-ended": "Every other session has ended.",
    "deleted": "The account is deleted.",
    "run-canceled": "The run is canceled. Its hold was given back.",
    "stopping": "The run's worker was asked to stop it.",
    "granted": "The tokens were granted. The grant is in the account's statement and in the audit log.",
    "key-revoked": "The key is revoked. Requests with it are refused from now on.",
    "webhook-enabled": "The endpoint is enabled. What failed while it was disabled can be replayed.",
    "webhook-disabled": "The endpoint is disabled. Nothing is sent to it, and nothing is recorded for it.",
    "webhook-deleted": "The endpoint is deleted, and its pending deliveries are dropped.",
    "resent": "The delivery is queued again, with a new retry schedule.",
    "replayed": "The failed deliveries are queued again, oldest first.",
    "replayed-more": "10,000 deliveries are queued again, oldest first. There are more: replay again.",
}


def current() -> str | None:
    """The sentence for this request."""
    return SENTENCES.get(request.args.get("said", ""))
