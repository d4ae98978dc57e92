"""What the platform signs for others to check without asking it: receipts and quotes.

    jws     compact JWS (RFC 7515) with Ed25519 (RFC 8037) over canonical JSON (RFC 8785)
    keys    one key signs; retired ones remain public

Reading such a document takes nothing of ours: `examples/verify_receipt.py`, or any JOSE library.
"""

from common.identity.signatures.jws import BadSignature, claims_of
from common.identity.signatures.keys import configure, issuer, public_keys, read, rotate, sign, sign_only

__all__ = ["BadSignature", "claims_of", "configure", "issuer", "public_keys", "read", "rotate", "sign", "sign_only"]
