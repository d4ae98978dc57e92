"""Addresses that the platform hands out on its own, in representations, webhooks and mails.

The only module of `common` that knows where the REST API, the console and MCP are served; their routes are added under
the same prefixes.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

API_PREFIX: Final = "/api/v1"
CONSOLE_PREFIX: Final = "/console"
#: Where clients of the OpenAI API find what they expect.
OPENAI_PREFIX: Final = "/v1"
MCP_PATH: Final = "/mcp"
#: Protected-resource metadata (RFC 9728) of what is served under a path: this, followed by the path.
RESOURCE_METADATA: Final = "/.well-known/oauth-protected-resource"


def invocation(invocation_id: UUID) -> dict[str, str]:
    """Paths of an invocation: itself, canceling it, and its events."""
    base = f"{API_PREFIX}/invocations/{invocation_id}"
    return {"self": base, "cancel": f"{base}/cancel", "events": f"{base}/events"}


def password_reset(token: str) -> str:
    """The path to which a new password is sent with a mailed token."""
    return f"{API_PREFIX}/auth/password-reset/{token}"


def email_verification(token: str) -> str:
    """The path that confirms an address with a mailed token."""
    return f"{API_PREFIX}/auth/verify-email/{token}"


def plan_change_page(plan: str) -> str:
    """The page of the console that says what choosing a plan does."""
    return f"{CONSOLE_PREFIX}/plan/change?plan={plan}"


def password_reset_page(token: str) -> str:
    """The page of the console on which a new password is typed."""
    return f"{CONSOLE_PREFIX}/reset/{token}"


def email_verification_page(token: str) -> str:
    """The page of the console with the button that confirms an address."""
    return f"{CONSOLE_PREFIX}/verify/{token}"
