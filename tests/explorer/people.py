"""Sessions and keys: a start state, its verbs, and what must hold of them whatever happens."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from common.errors import PlatformError, TokenRevoked, Unauthenticated
from common.identity import keys, sessions
from common.identity.audit import Actor
from common.identity.sessions import TokenPair
from common.kit import redis

IP = "192.0.2.1"


@dataclass(slots=True)
class Person:
    """Somebody with a session and a key, and what they were told of both."""

    user_id: UUID
    pair: TokenPair
    key_id: UUID
    key: str
    pairs: list[TokenPair] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    @classmethod
    def make(cls, user_id: UUID, email: str, password: str) -> Person:
        pair = sessions.login(email, password, ip=IP)
        key, text = keys.create(user_id, "a key", actor=Actor("session", user_id))
        keys.authenticate(text)
        sessions.authenticate(user_id, pair.family_id)
        return cls(user_id, pair, key.id, text)

    def again(self) -> Person:
        return Person(self.user_id, self.pair, self.key_id, self.key)


def refresh(world: Any, _name: str) -> None:
    """The client's only refresh token, also when another of its requests has just spent it."""
    world.person.pairs.append(sessions.refresh(world.person.pair.refresh_token))


def logout(world: Any, _name: str) -> None:
    sessions.logout(world.person.pair.refresh_token)
    world.person.done.append("logout")


def look(world: Any, _name: str) -> None:
    """A request with the access token, and one with the key: what they find is remembered in Redis."""
    try:
        sessions.authenticate(world.person.user_id, world.person.pair.family_id)
        keys.authenticate(world.person.key)
    except (TokenRevoked, Unauthenticated):
        world.person.done.append("refused")


def wipe_and_look(world: Any, name: str) -> None:
    """Redis has lost everything, and the next request remembers anew."""
    redis.client().flushall()
    look(world, name)


def rotate(world: Any, _name: str) -> None:
    _, text = keys.rotate(world.person.user_id, world.person.key_id, 0, actor=Actor("session", world.person.user_id))
    world.person.keys.append(text)


def revoke(world: Any, _name: str) -> None:
    keys.revoke(world.person.user_id, world.person.key_id, actor=Actor("session", world.person.user_id))
    world.person.done.append("revoke")


VERBS = {
    "refresh": refresh,
    "logout": logout,
    "look": look,
    "wipe+look": wipe_and_look,
    "key rotate": rotate,
    "key revoke": revoke,
}


def broken(person: Person, verbs: list[str]) -> list[str]:
    """`verbs`: those that were begun at all, whether or not anybody was told of their end."""
    found = []
    if len({pair.refresh_token for pair in person.pairs}) > 1:
        found.append("one refresh token was spent for two pairs")
    newest = (person.pairs or [person.pair])[-1]
    alive = _works(lambda: sessions.authenticate(person.user_id, newest.family_id))
    follows = _works(lambda: sessions.refresh(newest.refresh_token))
    if "logout" in person.done and (alive or follows):
        found.append(f"logged out, but the session lives: access {alive}, refresh {follows}")
    if "logout" not in verbs and not (alive and follows):
        found.append(f"nobody logged out, but the session has ended: access {alive}, refresh {follows}")
    if "logout" not in verbs and "refused" in person.done and not {"key rotate", "key revoke"} & {*verbs}:
        found.append("a living credential was refused")
    return found + _keys(person, verbs)


def _keys(person: Person, verbs: list[str]) -> list[str]:
    texts = [person.key, *person.keys]
    working = [text for text in texts if _works(partial(keys.authenticate, text))]
    if "revoke" in person.done and working:
        return ["a revoked key works"]
    if "key revoke" in verbs:
        return []
    all_told = len(person.keys) == verbs.count("key rotate")
    if person.keys and (len(working) > 1 or person.key in working or (all_told and not working)):
        return [f"{len(working)} of {len(texts)} secrets work after a rotation without overlap"]
    if "key rotate" not in verbs and working != [person.key]:
        return ["a key that nobody touched is refused"]
    return []


def _works(ask: Any) -> bool:
    try:
        ask()
    except PlatformError:
        return False
    return True
