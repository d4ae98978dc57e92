"""Accounts, in life order: opening · profile · recovery (reset, verification) · administration · directory.

Hashing takes 50 ms and happens between transactions; what was read before it is checked again in the statement that
writes (`password_version`). Whatever changes what a caller may do goes through `standing.changing`.
"""

from common.identity.accounts.administration import administer, purge, set_password
from common.identity.accounts.directory import Listed, listed, listing
from common.identity.accounts.opening import create, ensure_admin, register
from common.identity.accounts.profile import by_email, change_password, get, rename, require_verified
from common.identity.accounts.recovery import request_reset, request_verification, reset_password, verify_email
from common.identity.authorization import Caller

__all__ = [
    "Caller",
    "Listed",
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
