"""Accounts, in life order: opening · profile · recovery (reset, verification) · administration · directory.

Hashing takes 50 ms and happens between transactions; what was read before it is checked again in the statement that
writes (`password_version`). Whatever changes what a caller may do goes through `standing.changing`.
"""

from common.accounts.administration import administer, purge, set_password
from common.accounts.directory import Listed, listed, listing
from common.accounts.opening import create, ensure_admin, register
from common.accounts.profile import by_email, change_password, get, rename, require_verified
from common.accounts.recovery import request_reset, request_verification, reset_password, verify_email
from common.standing import Caller

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
