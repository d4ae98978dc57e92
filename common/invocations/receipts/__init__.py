"""Receipts: what an ended invocation cost and why, signed, so that it can be checked without asking the platform.

    claims      what a receipt says, from the row
    issuing     made and stored when first asked for, and the same bytes ever after

Design: docs/decisions/receipts.md.
"""

from common.invocations.receipts.claims import TYPE
from common.invocations.receipts.issuing import Receipt, add_to, bill, issue

__all__ = ["TYPE", "Receipt", "add_to", "bill", "issue"]
