"""`/auth`: registration, login, refresh, logout, password reset, verification of the address."""

from __future__ import annotations

from typing import Any

from common import errors
from common.identity import accounts, passwords, sessions
from web.api.blueprint import Blueprint
from web.http import access_tokens, auth
from web.http.answers import absolute
from web.http.fields import Flag, Id, Instant, Secret, Text, Whole, Word
from web.http.schemas import Body, Resource

blp = Blueprint("auth", __name__, url_prefix="/auth", description="Registration, login and what follows")


class NewPassword(Secret):
    """A password that is being chosen. Its length is documented here and judged by `identity.passwords`, in NFC."""

    def __init__(self, *, description: str = "", **kwargs: Any) -> None:
        rule = f"{passwords.MIN_CHARS}-{passwords.MAX_CHARS} characters, none of the common ones."
        metadata = {"minLength": passwords.MIN_CHARS, "maxLength": passwords.MAX_CHARS}
        super().__init__(metadata={**metadata, "description": f"{rule} {description}".strip()}, **kwargs)


class EmailAddressSchema(Body):
    email = Text(required=True, max=320, metadata={"format": "email"})


class RegistrationSchema(EmailAddressSchema):
    password = NewPassword(required=True)
    name = Text(required=True, max=200, line=True, nfc=True)


class CredentialsSchema(EmailAddressSchema):
    password = Secret(required=True)


class RefreshTokenSchema(Body):
    refresh_token = Secret(required=True)


class NewPasswordSchema(Body):
    password = NewPassword(required=True)


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
    expires_in = Whole(required=True, metadata={"description": "Seconds that the access token lives."})


@blp.post("/register")
@auth.public
@blp.arguments(RegistrationSchema)
@blp.response(201, UserSchema, headers=["Location"])
@blp.raises(errors.EmailTaken, errors.WeakPassword, errors.TooManyAttempts)
def register(body: dict[str, Any]) -> Any:
    """Open an account

    The address is checked for its syntax only and compared without case. A mail asks to verify it. From one network
    address 100 an hour are taken.
    """
    user = accounts.register(**body, ip=auth.client_ip())
    return user, {"Location": absolute("/api/v1/users/me")}


@blp.post("/login")
@auth.public
@blp.arguments(CredentialsSchema)
@blp.response(200, TokenPairSchema)
@blp.raises(errors.InvalidCredentials, errors.AccountDisabled, errors.TooManyAttempts)
def login(body: dict[str, Any]) -> Any:
    """Start a session

    A wrong address and a wrong password are answered alike. Failures are throttled: 10 in 15 minutes of an account,
    100 from a network address.
    """
    return _tokens(sessions.login(**body, ip=auth.client_ip()))


@blp.post("/refresh")
@auth.public
@blp.arguments(RefreshTokenSchema)
@blp.response(200, TokenPairSchema)
@blp.raises(errors.Unauthenticated, errors.TokenExpired, errors.TokenRevoked)
def refresh(body: dict[str, Any]) -> Any:
    """Trade a refresh token for a new pair

    The old one is spent. Requests that race with it within 10 seconds get the same pair; a later one ends the session.
    """
    return _tokens(sessions.refresh(**body))


@blp.post("/logout")
@auth.public
@blp.arguments(RefreshTokenSchema)
@blp.response(204)
def logout(body: dict[str, Any]) -> None:
    """End the session of this refresh token, and its access tokens with it, at once"""
    sessions.logout(**body)


@blp.post("/password-reset")
@auth.public
@blp.arguments(EmailAddressSchema)
@blp.response(202)
@blp.raises(errors.TooManyAttempts)
def request_reset(body: dict[str, Any]) -> Any:
    """Ask for a link to reset the password

    Answers the same whether or not anybody has that address. From one network address 20 an hour are taken.
    """
    accounts.request_reset(**body, ip=auth.client_ip())
    return {}


@blp.post("/password-reset/<token>")
@auth.public
@blp.arguments(NewPasswordSchema)
@blp.response(204)
@blp.raises(errors.InvalidLink, errors.WeakPassword)
def reset_password(body: dict[str, Any], token: str) -> None:
    """Set a new password by a mailed link

    The link works once, for 30 minutes. Every session of the account ends. If nobody had proved the address before,
    API keys are revoked and webhook endpoints disabled too: somebody else may have opened the account.
    """
    accounts.reset_password(token, **body, actor=auth.actor())


@blp.post("/verify-email")
@auth.public
@blp.arguments(EmailAddressSchema)
@blp.response(202)
@blp.raises(errors.TooManyAttempts)
def request_verification(body: dict[str, Any]) -> Any:
    """Ask for another mail that verifies the address"""
    accounts.request_verification(**body, ip=auth.client_ip())
    return {}


@blp.post("/verify-email/<token>")
@auth.public
@blp.response(204)
@blp.raises(errors.InvalidLink)
def verify_email(token: str) -> None:
    """Verify the address by a mailed link"""
    accounts.verify_email(token)


def _tokens(pair: sessions.TokenPair) -> dict[str, Any]:
    return {
        "access_token": access_tokens.sign(pair),
        "refresh_token": pair.refresh_token,
        "token_type": "Bearer",
        "expires_in": sessions.ACCESS_SECONDS,
    }
