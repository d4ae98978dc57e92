"""P17: a list page of the console ÷ the same list of the API, in CPU of the web process; pages of a long history."""

from __future__ import annotations

from functools import partial
from http.client import HTTPConnection
from urllib.parse import urlencode

from common.identity import accounts
from tools.bench import asking, growth, load, pairs
from tools.bench.goals import Found, ratio
from tools.bench.ground import PASSWORD, Ground

SECONDS = 3.0
CLIENTS = 4
ROWS = 50
#: Pages that show an account's own history.
OF_HISTORY = (
    "/",
    "/runs",
    "/runs?status=failed",
    "/runs?group=error",
    "/usage?by=tool",
    "/statement",
    "/tools",
    "/keys",
)
#: Few, because an account has 600 requests a minute.
WARM_UPS, TIMINGS = 2, 5


def p17(ground: Ground) -> dict[str, Found]:
    growth.fill(ground, 2 * ROWS * len(ground.accounts))
    ground.start(ground.web())
    pages, lists = _pages(ground), _lists(ground)
    found = pairs.in_turn(lambda: _milliseconds(ground, pages), lambda: _milliseconds(ground, lists))
    ground.stop("web")
    page, plain = found.ours, found.limit
    note = f"CPU of the web process: {page:.2f} ms a page of {ROWS} runs, {plain:.2f} ms the list as JSON"
    return {"P17": ratio(found, note=note)}


def _lists(ground: Ground) -> list[bytes]:
    path = f"/api/v1/invocations?limit={ROWS}&payloads=false"
    return [load.request("GET", path, {"Authorization": f"Bearer {token}"}) for token in ground.tokens()]


def _pages(ground: Ground) -> list[bytes]:
    """One for each account: each has a quota of its own."""
    emails = [accounts.get(each.user_id).email for each in ground.accounts]
    return [load.request("GET", f"/console/runs?limit={ROWS}", {"Cookie": cookie(ground, email)}) for email in emails]


def cookie(ground: Ground, email: str) -> str:
    """The cookie of a new session of the console."""
    connection = HTTPConnection("127.0.0.1", ground.settings.port, timeout=10)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    connection.request("POST", "/console/sign-in", urlencode({"email": email, "password": PASSWORD}), headers)
    answer = connection.getresponse()
    if answer.status != 303:
        raise RuntimeError(f"signing in was answered {answer.status}")
    return answer.headers["Set-Cookie"].partition(";")[0]


def p17_growth(small: Ground, large: Ground) -> dict[str, Found]:
    """The same pages of the account with the longest history, beside many rows and beside few; the slowest judges."""
    readers = []
    for ground in (large, small):
        ground.start(ground.web())
        readers.append(_Reader(ground))
    timings: tuple[asking.Timings, asking.Timings] = ({}, {})
    for n in range(asking.ROUNDS):
        for which in (n % 2, 1 - n % 2):
            readers[which].read(timings[which])
    for ground in (large, small):
        ground.stop("web")
    return {"P17_growth": asking.slowest(timings[1], timings[0])}


class _Reader:
    """Somebody who has signed in as the account with the longest history, and reads its pages one after the other."""

    def __init__(self, ground: Ground) -> None:
        self._port = ground.settings.port
        ground.connect()
        self._headers = {"Cookie": cookie(ground, accounts.get(ground.accounts[0].user_id).email)}

    def read(self, timings: asking.Timings) -> None:
        """Milliseconds of each page, several times."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        asking.ask({path: partial(self._read, connection, path) for path in OF_HISTORY}, timings, WARM_UPS, TIMINGS)
        connection.close()

    def _read(self, connection: HTTPConnection, path: str) -> None:
        connection.request("GET", f"/console{path}", headers=self._headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path} was answered {answer.status}")


def _milliseconds(ground: Ground, requests: list[bytes]) -> float:
    """CPU of one answer."""
    with pairs.cpu([ground.supervisor.children["web"].pid]) as cpu:
        found = load.closed(ground.settings.port, requests, clients=CLIENTS, seconds=SECONDS)
    if set(found.statuses) != {200}:
        raise RuntimeError(f"web answered {dict(found.statuses)}")
    return 1000 * cpu.total / (found.good * 1.2)  # a fifth as long was warming up
