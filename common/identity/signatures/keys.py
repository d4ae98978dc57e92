"""The keys that receipts and quotes are signed with. One is current; the private part of a retired one is forgotten.

A key is read, and locked against rotation, in the transaction that stores what it signs: once `rotate` has returned,
nothing of that kind is signed with an older key any more. What is not stored is signed with the key that was just read.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from math import ceil
from typing import Final, NamedTuple
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from common.errors import DependencyUnavailable
from common.identity import audit
from common.identity.signatures import jws
from common.kit import clock, crypto, db, log
from common.kit.query import Query
from common.models.signatures import SigningKey

logger = log.get(__name__)

PURPOSE: Final = "signing"
TRIES: Final = 3


class CurrentKey(NamedTuple):
    """The key that signs; its private part is encrypted for its id."""

    id: UUID
    kid: str
    private_key: str


_CURRENT: Final = Query("select id, kid, private_key from signing_keys where is_current", CurrentKey)
_CURRENT_LOCKED: Final = Query("select id, kid, private_key from signing_keys where is_current for share", CurrentKey)


class PublicKey(NamedTuple):
    """`x` of a key."""

    public_key: str


_BY_KID: Final = Query("select public_key from signing_keys where kid = :kid", PublicKey)
_EXISTS: Final = select(SigningKey.is_current).where(SigningKey.is_current.is_(True))
_KID: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class _Issuer:
    name = ""


def configure(public_url: str) -> None:
    """Set the `iss` of what this process signs."""
    _Issuer.name = public_url


def issuer() -> str:
    return _Issuer.name


def sign(session: Session, typ: str, claims: Mapping[str, object]) -> str:
    """Sign claims that your transaction stores. Raises `jcs.NotCanonical`, and `DependencyUnavailable` if the key
    cannot be decrypted.
    """
    return _signed(_locked(session), typ, claims)


def sign_only(typ: str, claims: Mapping[str, object]) -> str:
    """As `sign`, for what is not stored."""
    rows = db.execute(_CURRENT, {})
    if not rows:
        with db.transaction() as session:
            rows = [_locked(session)]
    return _signed(rows[0], typ, claims)


def _signed(key: CurrentKey, typ: str, claims: Mapping[str, object]) -> str:
    try:
        raw = crypto.decrypt(PURPOSE, str(key.id), key.private_key)
    except crypto.Undecryptable as error:
        logger.warning("signing key not readable: rotate it", kid=key.kid, reason=str(error))
        raise DependencyUnavailable("The signing key cannot be read. Nothing was signed; tell the operator.") from error
    return jws.encode(Ed25519PrivateKey.from_private_bytes(base64.b64decode(raw)), key.kid, typ, claims)


def read(token: str, typ: str) -> dict[str, object]:
    """The claims of a document of this type that we signed, under whichever key. Raises `jws.BadSignature`."""
    return jws.decode(token, typ, _public)


def _public(kid: str) -> Ed25519PublicKey | None:
    """The key; None for what is no thumbprint of ours (the sender of the document chose it)."""
    rows = db.execute(_BY_KID, {"kid": kid}) if _KID.fullmatch(kid) else []
    return jws.public_key(rows[0].public_key) if rows else None


def public_keys() -> list[dict[str, object]]:
    """Every key ever used as a JWK (RFC 7517), the newest first; `exp` is when it was retired (Unix time)."""
    with db.transaction() as session:
        if not session.scalar(_EXISTS):
            _locked(session)
        return [_jwk(row) for row in session.scalars(select(SigningKey).order_by(SigningKey.id.desc()))]


def _jwk(row: SigningKey) -> dict[str, object]:
    retired = {} if row.retired_at is None else {"exp": ceil(row.retired_at.timestamp())}
    return {**jws.jwk(row.public_key), "kid": row.kid, "use": "sig", "alg": jws.ALGORITHM, **retired}


def rotate(actor: audit.Actor) -> str:
    """Retire the current key, forget its private part, and make a new one; returns its `kid`."""
    with db.transaction() as session:
        # Locked first: the clock is read once those who sign with the key are done.
        session.execute(_EXISTS.with_for_update())
        ended = {"is_current": None, "private_key": None, "retired_at": func.clock_timestamp()}
        retire = update(SigningKey).where(SigningKey.is_current.is_(True)).values(ended)
        retired = session.scalar(retire.returning(SigningKey.kid))
        _make(session)
        made = _locked(session).kid
        audit.record(session, actor, "signing_key.rotate", "signing_key", made, before={"kid": retired})
        return made


def _locked(session: Session) -> CurrentKey:
    """The current key, locked against rotation; it is made when first needed."""
    for _ in range(TRIES):
        if rows := db.fetch(session, _CURRENT_LOCKED):
            return rows[0]
        _make(session)  # or else another made one, or rotates just now
    raise DependencyUnavailable


def _make(session: Session) -> None:
    key, key_id = Ed25519PrivateKey.generate(), clock.uuid7()
    public = jws.public_part(key)
    encrypted = crypto.encrypt(PURPOSE, str(key_id), base64.b64encode(key.private_bytes_raw()).decode())
    row = {"id": key_id, "kid": jws.thumbprint(public), "public_key": public, "private_key": encrypted}
    made = insert(SigningKey).values(**row, is_current=True)
    session.execute(made.on_conflict_do_nothing(index_elements=["is_current"]))
