"""Users of the API over real HTTP, optionally each from their own client network."""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID

import requests
from requests.adapters import HTTPAdapter

PASSWORD = "the heron waits in grey water"
_numbers = itertools.count(1)


class _From(HTTPAdapter):
    """Connections that come from one address of 127.0.0.0/8."""

    def __init__(self, ip: str) -> None:
        self._ip = ip
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, source_address=(self._ip, 0))


class Api:
    """The API at one address, called from `ip`."""

    def __init__(self, base: str, ip: str = "127.0.0.1") -> None:
        self.base, self.ip = base, ip
        self._session = requests.Session()
        self._session.mount("http://", _From(ip))

    def __call__(self, method: str, path: str, token: str | None = None, **kwargs: Any) -> requests.Response:
        headers = dict(kwargs.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if method in {"POST", "PATCH"}:
            kwargs.setdefault("json", {})
        return self._session.request(method, f"{self.base}/api/v1{path}", headers=headers, timeout=20, **kwargs)

    def at(self, ip: str) -> Api:
        """The same API, called from another address."""
        return Api(self.base, ip)

    # -- what users do ---------------------------------------------------------------------------------------

    def person(self, email: str | None = None, password: str = PASSWORD) -> Person:
        """A registered user."""
        email = email or f"person-{next(_numbers)}@example.com"
        answer = self("POST", "/auth/register", json={"email": email, "password": password, "name": "Pat"})
        assert answer.status_code == 201, answer.text
        return Person(self, answer.json()["data"]["id"], email, password)

    def login(self, email: str, password: str = PASSWORD) -> requests.Response:
        return self("POST", "/auth/login", json={"email": email, "password": password})

    def me(self, token: str) -> int:
        """The status of the cheapest request that needs a caller."""
        return self("GET", "/users/me", token).status_code


class Person:
    """An account and its password."""

    def __init__(self, api: Api, id: str, email: str, password: str) -> None:
        self.api, self.id, self.email, self.password = api, id, email, password

    @property
    def uuid(self) -> UUID:
        return UUID(self.id)

    def login(self) -> Session:
        answer = self.api.login(self.email, self.password)
        assert answer.status_code == 200, answer.text
        return Session(self.api, answer.json()["data"])

    def key(self, **body: Any) -> dict[str, Any]:
        """A new API key, as returned."""
        answer = self.api("POST", "/users/me/api-keys", self.login().access, json={"name": "key", **body})
        assert answer.status_code == 201, answer.text
        return dict(answer.json()["data"])


class Session:
    """A pair of tokens."""

    def __init__(self, api: Api, pair: dict[str, Any]) -> None:
        self.api, self.pair = api, pair

    @property
    def access(self) -> str:
        return str(self.pair["access_token"])

    @property
    def refresh_token(self) -> str:
        return str(self.pair["refresh_token"])

    def refresh(self, api: Api | None = None) -> requests.Response:
        return (api or self.api)("POST", "/auth/refresh", json={"refresh_token": self.refresh_token})

    def next(self) -> Session:
        answer = self.refresh()
        assert answer.status_code == 200, answer.text
        return Session(self.api, answer.json()["data"])

    def logout(self, api: Api | None = None) -> requests.Response:
        return (api or self.api)("POST", "/auth/logout", json={"refresh_token": self.refresh_token})


def code(answer: requests.Response) -> tuple[int, str]:
    """The status and the code of an error."""
    return answer.status_code, answer.json()["code"]
