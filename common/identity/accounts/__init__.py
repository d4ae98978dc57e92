"""Accounts: opening, profile, recovery (password reset, address verification), administration, directory, closing.

Hashing takes 50 ms and happens between transactions; the statement that writes checks again what was read before it
(`password_version`). Every change to what a caller may do goes through `authorization_cache.changing`.
"""

from common.identity.accounts.administration import administer, purge, set_password
from common.identity.accounts.closing import being_forgotten, forget, forgotten, lock_for_closing
from common.identity.accounts.confirming import confirm, confirmed_recently
from common.identity.accounts.directory import ListedAccount, addresses, listed, listing
from common.identity.accounts.opening import create, ensure_admin, register
from common.identity.accounts.profile import by_email, change_password, confirmed, get, rename, require_verified
from common.identity.accounts.recovery import request_reset, request_verification, reset_password, verify_email
from common.identity.authorization import Caller

__all__ = [
    "Caller",
    "ListedAccount",
    "addresses",
    "administer",
    "being_forgotten",
    "by_email",
    "change_password",
    "confirm",
    "confirmed",
    "confirmed_recently",
    "create",
    "ensure_admin",
    "forget",
    "forgotten",
    "get",
    "listed",
    "listing",
    "lock_for_closing",
    "purge",
    "register",
    "rename",
    "request_reset",
    "request_verification",
    "require_verified",
    "reset_password",
    "set_password",
    "verify_email",
]
