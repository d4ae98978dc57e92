"""Signed receipts of invocations, and the public keys to check them with."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from flask import Response

from common import errors
from common.identity import signatures
from common.invocations import receipts
from common.kit import jsonb
from web.api.blueprint import Blueprint
from web.http import auth, large_reads
from web.http.fields import JsonObject, Text
from web.http.negotiation import preferred
from web.http.responses import enveloped
from web.http.schemas import Resource

blp = Blueprint("receipts", __name__, url_prefix="/invocations", description="Signed receipts of invocations")
public = Blueprint("signing_keys", __name__, url_prefix="/.well-known", description="The public keys of receipts")

JOSE: Final = "application/jose"
JWK_SET: Final = "application/jwk-set+json"
#: Seconds for which a verifier may go on with the keys that it has.
FRESH: Final = 300


class ReceiptSchema(Resource):
    receipt = Text(required=True, metadata={"description": "A compact JWS (RFC 7515)."})
    claims = JsonObject(required=True, metadata={"description": "What it says, decoded."})


@blp.get("/<uuid:invocation_id>/receipt")
@auth.needs("invocations:read")
@blp.response(200, ReceiptSchema, headers=["Vary"])
@blp.alt_response(200, content_type=JOSE, headers=["Vary"])
@blp.raises(errors.Conflict)
def receipt(invocation_id: UUID) -> Response:
    """The signed receipt of an ended invocation

    A JWS (EdDSA) of what was charged and why, with hashes of input and output (SHA-256 over RFC 8785), so that anybody
    can check it with the keys at `/.well-known/jwks.json`. The bytes are the same each time. As `application/jose` it
    is the JWS alone. 409: the invocation has not ended.
    """
    large_reads.begin()
    issued = receipts.issue(invocation_id, auth.caller().user_id)
    large_reads.count_bytes(issued.bytes_read)
    return _shown(issued)


@public.get("/jwks.json")
@auth.public
@public.response(200, content_type=JWK_SET, description="A JWK Set (RFC 7517).")
def jwks() -> Response:
    """The public keys of receipts and quotes

    Every key that was ever used. A retired one has `exp`: it has signed nothing that ended later.
    """
    response = Response(jsonb.encoded({"keys": signatures.public_keys()}), content_type=JWK_SET)
    response.headers["Cache-Control"] = f"public, max-age={FRESH}"
    return response


def _shown(issued: receipts.Receipt) -> Response:
    if preferred(["application/json", JOSE]) == JOSE:
        response = Response(issued.receipt, content_type=JOSE)
    else:
        response = enveloped({"receipt": issued.receipt, "claims": issued.claims})
    response.headers["Vary"] = "Accept"
    return response
