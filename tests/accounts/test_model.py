"""Logins, refreshes, logouts, resets, keys, revocations and wipes in any order, against a simple model.

The model knows for each session whether it is active, for each refresh token whether it is unused, used a moment ago,
or used long ago, and for each API key text whether it works. After every step, access tokens and keys are tried in both
processes: they work exactly when the model says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg
import requests
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from common.identity import accounts
from common.identity.audit import OPERATOR
from common.kit import redis as redis_kit
from tests.accounts.conftest import Mailbox
from tests.accounts.people import Api, Session

UNSPENT, JUST_SPENT, LONG_SPENT = "unspent", "just spent", "long spent"


NUMBERS = st.integers(0, 11)
T = TypeVar("T")


def pick(n: int, among: list[T]) -> T:
    return among[n % len(among)]


@dataclass
class Family:
    """One login in the model."""

    lives: bool = True
    tokens: list[Token] = field(default_factory=list)


@dataclass
class Token:
    family: Family
    session: Session
    state: str = UNSPENT
    successor: Token | None = None


@dataclass
class Key:
    """One API key: its texts that work, and those that did."""

    id: str
    living: list[str]
    ended: list[str] = field(default_factory=list)

    def end(self) -> None:
        self.ended += self.living
        self.living = []


class Sessions(RuleBasedStateMachine):
    """Rules pick a token by a number, among those to which they apply, so that few steps are wasted."""

    api: Api
    other: Api
    sql: psycopg.Connection[Any]
    mailbox: Mailbox

    @initialize()
    def begin(self) -> None:
        self.sql.execute("delete from throttles")
        self.password, self.resets = "the first of many pass phrases", 0
        self.person = self.api.person(password=self.password)
        self.families: list[Family] = []
        self.keys: list[Key] = []
        for n in range(2):
            self.login()
            self.refresh(n, elsewhere=False)  # so that there is a used token to race with, or to steal

    # -- the model -------------------------------------------------------------------------------------------

    def tokens(self, state: str, *, lives: bool = True) -> list[Token]:
        return [t for family in self.families if family.lives is lives for t in family.tokens if t.state == state]

    def alive(self) -> list[Family]:
        return [family for family in self.families if family.lives]

    def joined(self, family: Family, pair: dict[str, Any]) -> Token:
        token = Token(family, Session(self.api, pair))
        family.tokens.append(token)
        return token

    def refreshed(self, token: Token, elsewhere: bool) -> requests.Response:
        # However slow the machine is.
        self.sql.execute("update refresh_tokens set used_at = now() where used_at > now() - interval '30 minutes'")
        return token.session.refresh(self.other if elsewhere else self.api)

    # -- rules -----------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.alive()) < 3)
    @rule()
    def login(self) -> None:
        answer = self.api.login(self.person.email, self.password)
        assert answer.status_code == 200
        self.families.append(Family())
        self.joined(self.families[-1], answer.json()["data"])

    @precondition(lambda self: self.tokens(UNSPENT))
    @rule(n=NUMBERS, elsewhere=st.booleans())
    def refresh(self, n: int, elsewhere: bool) -> None:
        token = pick(n, self.tokens(UNSPENT))
        answer = self.refreshed(token, elsewhere)
        assert answer.status_code == 200
        token.state, token.successor = JUST_SPENT, self.joined(token.family, answer.json()["data"])

    @precondition(lambda self: self.tokens(JUST_SPENT))
    @rule(n=NUMBERS, elsewhere=st.booleans())
    def refresh_in_a_race(self, n: int, elsewhere: bool) -> None:
        token = pick(n, self.tokens(JUST_SPENT))
        answer = self.refreshed(token, elsewhere)
        assert answer.status_code == 200
        assert token.successor is not None
        assert answer.json()["data"]["refresh_token"] == token.successor.session.refresh_token

    @precondition(lambda self: self.tokens(LONG_SPENT))
    @rule(n=NUMBERS, elsewhere=st.booleans())
    def refresh_with_a_stolen_token(self, n: int, elsewhere: bool) -> None:
        token = pick(n, self.tokens(LONG_SPENT))
        assert self.refreshed(token, elsewhere).status_code == 401
        token.family.lives = False

    @precondition(lambda self: self.tokens(UNSPENT, lives=False))
    @rule(n=NUMBERS, elsewhere=st.booleans())
    def refresh_what_has_ended(self, n: int, elsewhere: bool) -> None:
        assert self.refreshed(pick(n, self.tokens(UNSPENT, lives=False)), elsewhere).status_code == 401

    @precondition(lambda self: self.tokens(JUST_SPENT))
    @rule()
    def an_hour_passes(self) -> None:
        self.sql.execute("update refresh_tokens set used_at = used_at - interval '1 hour'")
        for token in [t for family in self.families for t in family.tokens if t.state == JUST_SPENT]:
            token.state = LONG_SPENT

    @precondition(lambda self: self.alive())
    @rule(n=NUMBERS, wiped=st.booleans())
    def logout(self, n: int, wiped: bool) -> None:
        token = pick(n, pick(n, self.alive()).tokens)
        assert token.session.logout().status_code == 204
        token.family.lives = False
        if wiped:
            redis_kit.client().flushall()

    @precondition(lambda self: len(self.alive()) > 1)
    @rule(how=st.sampled_from(["reset", "disable"]), wiped=st.booleans())
    def all_end(self, how: str, wiped: bool) -> None:
        if how == "reset":
            self.reset()
        else:
            for is_active in (False, True):
                accounts.administer(self.person.uuid, actor=OPERATOR, is_active=is_active)
        for family in self.families:
            family.lives = False
        if wiped:
            redis_kit.client().flushall()

    @precondition(lambda self: self.alive() and len(self.keys) < 4)
    @rule()
    def make_a_key(self) -> None:
        answer = self.api("POST", "/users/me/api-keys", self.access(), json={"name": "key"})
        assert answer.status_code == 201
        made = answer.json()["data"]
        self.keys.append(Key(made["id"], [made["key"]]))

    @precondition(lambda self: self.alive() and self.usable())
    @rule(n=NUMBERS, overlap=st.sampled_from([0, 600]))
    def rotate_a_key(self, n: int, overlap: int) -> None:
        key = pick(n, self.usable())
        path = f"/users/me/api-keys/{key.id}/rotate"
        answer = self.other("POST", path, self.access(), json={"overlap_seconds": overlap})
        assert answer.status_code == 200
        if not overlap:
            key.end()
        key.living.append(answer.json()["data"]["key"])

    @precondition(lambda self: self.alive() and self.usable())
    @rule(n=NUMBERS, wiped=st.booleans())
    def revoke_a_key(self, n: int, wiped: bool) -> None:
        key = pick(n, self.usable())
        assert self.api("DELETE", f"/users/me/api-keys/{key.id}", self.access()).status_code == 204
        key.end()
        if wiped:
            redis_kit.client().flushall()

    def usable(self) -> list[Key]:
        return [key for key in self.keys if key.living]

    def access(self) -> str:
        """Of an active session."""
        return self.alive()[0].tokens[-1].session.access

    def reset(self) -> None:
        self.sql.execute("delete from throttles")
        assert self.api("POST", "/auth/password-reset", json={"email": self.person.email}).status_code == 202
        self.resets += 1
        self.password = f"pass phrase of reset number {self.resets}"
        path = f"/auth/password-reset/{self.mailbox.token('password-reset')}"
        assert self.api("POST", path, json={"password": self.password}).status_code == 204
        if self.resets == 1:  # the address was not verified before: another person may have created the keys
            for key in self.keys:
                key.end()

    # -- invariants ------------------------------------------------------------------------------------------

    @invariant()
    def an_access_token_works_exactly_while_its_session_lives(self) -> None:
        for family in getattr(self, "families", [])[-5:]:
            access = family.tokens[-1].session.access
            expected = 200 if family.lives else 401
            assert [self.api.me(access), self.other.me(access)] == [expected, expected]

    @invariant()
    def a_key_works_exactly_while_it_lives(self) -> None:
        for key in getattr(self, "keys", []):
            texts = [*key.living[-2:], *key.ended[-1:]]
            expected = [200] * len(key.living[-2:]) + [401] * len(key.ended[-1:])
            for api in (self.api, self.other):
                assert [api.me(text) for text in texts] == expected


def test_sessions(api: Api, other: Api, sql: psycopg.Connection[Any], mailbox: Mailbox) -> None:
    class Machine(Sessions):
        pass

    Machine.api, Machine.other, Machine.sql, Machine.mailbox = api, other, sql, mailbox
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=8,
            stateful_step_count=14,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
            database=None,
        ),
    )
