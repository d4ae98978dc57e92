"""Who may come in: accounts, API keys, sessions, one-time links, attempts, mail to send, and who changed what.

Nothing here opens an outbound client by being read: passwords are Argon2id, tokens and key secrets only their SHA-256.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Text, UniqueConstraint, Uuid, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from common.models.base import MAX_TOKENS, Base, Created, Id, Instant, Json, Word, one_of

ROLES = ("user", "admin")
#: Who can change something: by a session, a key, a mailed link, at the command line, or the platform by itself.

#: What an API key may do. Without a list a new key gets all but `admin` and `keys:delegate`.
SCOPES = (
    "tools:read",
    "invocations:read",
    "invocations:write",
    "usage:read",
    "webhooks:manage",
    "subscriptions:read",
    "keys:delegate",
    "admin",
)
#: Scopes that have to be asked for; a session needs no scope to do what `keys:delegate` allows.
ASKED_FOR = ("keys:delegate", "admin")
#: What an allowance of a key is counted in: for ever, or by the day or month in UTC.
WINDOWS = ("total", "day", "month")


class User(Base):
    """An account. `email` is kept as it was given, `email_key` (NFC, lower case) is what must be unique."""

    __tablename__ = "users"

    id: Mapped[Id]
    email: Mapped[Word]
    email_key: Mapped[Word]
    name: Mapped[Word]
    password_hash: Mapped[Word]
    #: Counts real changes of the password (not rehashes): links and logins in flight are bound to it.
    password_version: Mapped[int] = mapped_column(default=1, server_default=text("1"))
    role: Mapped[Word] = mapped_column(default="user", server_default=text("'user'"))
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    email_verified_at: Mapped[Instant | None]
    #: Encrypted; signs the webhooks of per-call URLs.
    default_webhook_secret: Mapped[Word | None]
    created_at: Mapped[Created]
    #: Deleted by its owner: the row only stands for what was billed. `forgotten_at`: nothing else of it is left.
    deleted_at: Mapped[Instant | None]
    forgotten_at: Mapped[Instant | None]

    __table_args__ = (
        UniqueConstraint("email_key"),
        CheckConstraint(one_of("role", ROLES), name="role"),
        CheckConstraint("password_version > 0", name="password_version"),
        # "The last admin can be neither demoted nor disabled" counts and locks these few rows.
        Index("ix_users_active_admins", "id", postgresql_where=text("role = 'admin' and is_active")),
        Index(
            "ix_users_being_forgotten",
            "id",
            postgresql_where=text("deleted_at is not null and forgotten_at is null"),
        ),
        CheckConstraint("deleted_at is null or not is_active", name="deleted"),
        CheckConstraint("forgotten_at >= deleted_at", name="forgotten"),
    )

    @property
    def email_verified(self) -> bool:
        """Whether its owner has shown that the address is theirs."""
        return self.email_verified_at is not None


class ApiKey(Base):
    """`jh_<lookup>_<secret><checksum>`. The lookup part finds the row and stays through rotations.

    Limits never change after the key is made. A delegated key counts against its `ancestors` as well (the nearest
    first, up to `root_id`, the one that was not delegated); a session may delegate too, and then there are none.
    """

    __tablename__ = "api_keys"

    id: Mapped[Id]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    name: Mapped[Word]
    lookup: Mapped[Word]
    last4: Mapped[Word]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[Created]
    expires_at: Mapped[Instant | None]
    #: To the minute, not to the request.
    last_used_at: Mapped[Instant | None]
    revoked_at: Mapped[Instant | None]
    allowance_tokens: Mapped[int | None] = mapped_column(BigInteger)
    allowance_window: Mapped[Word | None]
    #: The start of the window for which `api_key.allowance_reached` was recorded last.
    allowance_reached_in: Mapped[Instant | None]
    rate_limit_per_minute: Mapped[int | None]
    max_concurrency: Mapped[int | None]
    #: Slugs of the tools that it sees and calls; null: all.
    tools: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    is_delegated: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    root_id: Mapped[UUID | None]
    ancestors: Mapped[list[UUID] | None] = mapped_column(ARRAY(Uuid))
    end_user: Mapped[Word | None]
    metadata_: Mapped[Json | None] = mapped_column("metadata")

    __table_args__ = (
        UniqueConstraint("lookup"),
        CheckConstraint(one_of("allowance_window", WINDOWS), name="allowance_window"),
        CheckConstraint(f"allowance_tokens between 0 and {MAX_TOKENS}", name="allowance_tokens"),
        CheckConstraint("(allowance_tokens is null) = (allowance_window is null)", name="allowance"),
        CheckConstraint("rate_limit_per_minute > 0", name="rate_limit"),
        CheckConstraint("max_concurrency > 0", name="max_concurrency"),
        CheckConstraint("not is_delegated or expires_at is not null", name="delegated"),
        CheckConstraint("(root_id is null) = (ancestors is null)", name="ancestors"),
        Index("ix_api_keys_delegated", "user_id", "expires_at", postgresql_where=text("is_delegated")),
        Index("ix_api_keys_delegated_ends", "expires_at", postgresql_where=text("is_delegated")),
        Index("ix_api_keys_allowance", "user_id", postgresql_where=text("allowance_tokens is not null")),
        CheckConstraint(f"scopes <@ array[{', '.join(repr(s) for s in SCOPES)}]::text[]", name="scopes"),
        Index("ix_api_keys_user_id", "user_id", "id", postgresql_where=text("revoked_at is null")),
    )

    @property
    def prefix(self) -> str:
        """The part that may be shown: it recognises a key and opens nothing."""
        return f"jh_{self.lookup}"


class ApiKeySecret(Base):
    """One secret of a key: the newest has no end of its own, rotated ones work until exactly `expires_at`."""

    __tablename__ = "api_key_secrets"

    id: Mapped[Id]
    api_key_id: Mapped[UUID] = mapped_column(ForeignKey("api_keys.id"), index=True)
    secret_hash: Mapped[Word]
    created_at: Mapped[Created]
    expires_at: Mapped[Instant | None]


class PasswordReset(Base):
    """A link that was mailed: single use, bound to the password it replaces."""

    __tablename__ = "password_resets"

    id: Mapped[Id]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    token_hash: Mapped[Word]
    password_version: Mapped[int]
    created_at: Mapped[Created]
    expires_at: Mapped[Instant]
    used_at: Mapped[Instant | None]

    __table_args__ = (
        UniqueConstraint("token_hash"),
        Index("ix_password_resets_user_id", "user_id", "created_at"),
        Index("ix_password_resets_expires_at", "expires_at"),
    )


class EmailVerification(Base):
    """A link that proves an address; bound to the address it was sent to."""

    __tablename__ = "email_verifications"

    id: Mapped[Id]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    token_hash: Mapped[Word]
    email_key: Mapped[Word]
    created_at: Mapped[Created]
    expires_at: Mapped[Instant]
    used_at: Mapped[Instant | None]

    __table_args__ = (
        UniqueConstraint("token_hash"),
        Index("ix_email_verifications_user_id", "user_id", "created_at"),
        Index("ix_email_verifications_expires_at", "expires_at"),
    )


class Throttle(Base):
    """Attempts in a window that does not move. Kept here and not in Redis: a wipe must not reopen guessing."""

    __tablename__ = "throttles"

    #: A digest of what is counted (`login`, an address or a network); holds no personal data.
    bucket: Mapped[str] = mapped_column(Text, primary_key=True)
    attempts: Mapped[int]
    ends_at: Mapped[Instant]

    __table_args__ = (
        CheckConstraint("attempts >= 0", name="attempts"),
        Index("ix_throttles_ends_at", "ends_at"),
    )


class KnownPlace(Base):
    """A network from which this account has logged in: a stranger's failures elsewhere do not delay it there."""

    __tablename__ = "known_places"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), primary_key=True)
    place: Mapped[str] = mapped_column(Text, primary_key=True)
    seen_at: Mapped[Created]

    __table_args__ = (Index("ix_known_places_seen_at", "seen_at"),)


class Mail(Base):
    """A mail to send: what it is about, never a token: links are made when it goes out."""

    __tablename__ = "mails"

    id: Mapped[Id]
    template: Mapped[Word]
    recipient: Mapped[Word]
    data: Mapped[Json] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    created_at: Mapped[Created]
    #: Null once it is done; while a sender has it, the end of its lease.
    due_at: Mapped[Instant | None] = mapped_column(server_default=func.now())
    tries: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    done_at: Mapped[Instant | None]
    outcome: Mapped[Word | None]

    __table_args__ = (
        CheckConstraint("(due_at is null) = (done_at is not null)", name="due_at"),
        CheckConstraint("(done_at is null) = (outcome is null)", name="outcome"),
        Index("ix_mails_due_at", "due_at", postgresql_where=text("due_at is not null")),
        Index("ix_mails_done_at", "done_at", postgresql_where=text("done_at is not null")),
    )
