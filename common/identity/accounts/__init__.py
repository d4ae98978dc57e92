"""Accounts: opening, profile, recovery (password reset, address verification), administration, directory.

Hashing takes 50 ms and happens between transactions; the statement that writes checks again what was read before it
(`password_version`). Every change to what a caller may do goes through `authorization_cache.changing`.
"""

from common.identity.accounts.administration import administer, purge, set_password
from common.identity.accounts.directory import ListedAccount, listed, listing
from common.identity.accounts.opening import create, ensure_admin, register
from common.identity.accounts.profile import by_email, change_password, get, rename, require_verified
from common.identity.accounts.recovery import request_reset, request_verification, reset_password, verify_email
from common.identity.authorization import Caller

__all__ = [
    "Caller",
    "ListedAccount",
    "administer",
    "by_email",
    "change_password",
    "create",
    "ensure_admin",
    "get",
    "listed",
    "listing",
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
