"""`/auth`: registration, login, refresh, logout, password reset, e-mail verification."""

from __future__ import annotations

from typing import TypedDict

from common import errors
from common.identity import accounts, passwords, sessions
from common.models.accounts import User
from web.api.blueprint import Blueprint
from web.http import access_tokens, auth
from web.http.fields import Flag, Id, Instant, Secret, Text, Whole, Word
from web.http.responses import Headers, Shown, location
from web.http.schemas import Body, Resource

blp = Blueprint(
    "auth", __name__, url_prefix="/auth", description="Registration, login, password reset and e-mail verification"
)


class NewPassword(Secret):
    """A new password. Its length is documented here, and checked in NFC by `identity.passwords`."""

    def __init__(self, *, description: str = "", required: bool = False) -> None:
        rule = f"{passwords.MIN_CHARS}-{passwords.MAX_CHARS} characters; common passwords are refused."
        metadata = {"minLength": passwords.MIN_CHARS, "maxLength": passwords.MAX_CHARS}
        super().__init__(metadata={**metadata, "description": f"{rule} {description}".strip()}, required=required)


class EmailAddressSchema(Body):
    email = Text(required=True, max=320, metadata={"format": "email"})


class EmailAddress(TypedDict):
    """What `EmailAddressSchema` loads."""

    email: str


class RegistrationSchema(EmailAddressSchema):
    password = NewPassword(required=True)
    name = Text(required=True, max=200, line=True, nfc=True)


class Registration(EmailAddress):
    """What `RegistrationSchema` loads."""

    password: str
    name: str


class CredentialsSchema(EmailAddressSchema):
    password = Secret(required=True)


class Credentials(EmailAddress):
    """What `CredentialsSchema` loads."""

    password: str


class RefreshTokenSchema(Body):
    refresh_token = Secret(required=True)


class RefreshTokenIn(TypedDict):
    """What `RefreshTokenSchema` loads."""

    refresh_token: str


class NewPasswordSchema(Body):
    password = NewPassword(required=True)


class ResetPassword(TypedDict):
    """What `NewPasswordSchema` loads."""

    password: str


class UserSchema(Resource):
    id = Id(required=True)
    email = Text(required=True)
    name = Text(required=True)
    role = Word("user", "admin", required=True)
    is_active = Flag(required=True)
    email_verified = Flag(required=True)
    created_at = Instant(required=True)


class TokenPairSchema(Resource):
    access_token = Text(required=True)
    refresh_token = Text(required=True)
    token_type = Word("Bearer", required=True)
    expires_in = Whole(required=True, metadata={"description": "Lifetime of the access token in seconds."})


@blp.post("/register")
@auth.public
@blp.arguments(RegistrationSchema)
@blp.response(201, UserSchema, headers=["Location"])
@blp.raises(errors.EmailTaken, errors.WeakPassword, errors.TooManyAttempts)
def register(body: Registration) -> tuple[User, Headers]:
    """Register an account

    Only the syntax of the address is checked; addresses are compared case-insensitively. A mail with a verification
    link is sent. At most 100 registrations an hour from one network address.
    """
    user = accounts.register(**body, ip=auth.client_ip())
    return user, location("users.show")


@blp.post("/login")
@auth.public
@blp.arguments(CredentialsSchema)
@blp.response(200, TokenPairSchema)
@blp.raises(errors.InvalidCredentials, errors.AccountDisabled, errors.TooManyAttempts)
def login(body: Credentials) -> Shown:
    """Start a session

    A wrong address and a wrong password get the same error. Failed attempts are limited: in 15 minutes, 10 per account
    and 100 per network address.
    """
    return _tokens(sessions.login(**body, ip=auth.client_ip(), user_agent=auth.user_agent()))


@blp.post("/refresh")
@auth.public
@blp.arguments(RefreshTokenSchema)
@blp.response(200, TokenPairSchema)
@blp.raises(errors.Unauthenticated, errors.TokenExpired, errors.TokenRevoked)
def refresh(body: RefreshTokenIn) -> Shown:
    """Exchange a refresh token for a new pair

    A refresh token can be used once. Concurrent requests within 10 seconds get the same pair; later reuse revokes the
    session.
    """
    return _tokens(sessions.refresh(**body))


@blp.post("/logout")
@auth.public
@blp.arguments(RefreshTokenSchema)
@blp.response(204)
def logout(body: RefreshTokenIn) -> None:
    """End the session of a refresh token; its access tokens are refused immediately"""
    sessions.logout(**body)


@blp.post("/password-reset")
@auth.public
@blp.arguments(EmailAddressSchema)
@blp.response(202)
@blp.raises(errors.TooManyAttempts)
def request_reset(body: EmailAddress) -> Shown:
    """Request a password reset link

    The response is the same whether or not an account has the address. At most 20 requests an hour from one network
    address.
    """
    accounts.request_reset(**body, ip=auth.client_ip())
    return {}


@blp.post("/password-reset/<token>")
@auth.public
@blp.arguments(NewPasswordSchema)
@blp.response(204)
@blp.raises(errors.InvalidLink, errors.WeakPassword)
def reset_password(body: ResetPassword, token: str) -> None:
    """Set a new password with a mailed link

    The link works once, within 30 minutes. All sessions of the account end. If the address was not verified before,
    API keys are revoked and webhook endpoints disabled too, because another person may have opened the account.
    """
    accounts.reset_password(token, **body, actor=auth.actor())


@blp.post("/verify-email")
@auth.public
@blp.arguments(EmailAddressSchema)
@blp.response(202)
@blp.raises(errors.TooManyAttempts)
def request_verification(body: EmailAddress) -> Shown:
    """Request another verification mail"""
    accounts.request_verification(**body, ip=auth.client_ip())
    return {}


@blp.post("/verify-email/<token>")
@auth.public
@blp.response(204)
@blp.raises(errors.InvalidLink)
def verify_email(token: str) -> None:
    """Verify the e-mail address with a mailed link"""
    accounts.verify_email(token)


def _tokens(pair: sessions.TokenPair) -> Shown:
    return {
        "access_token": access_tokens.sign(pair),
        "refresh_token": pair.refresh_token,
        "token_type": "Bearer",
        "expires_in": sessions.ACCESS_SECONDS,
    }
