"""Names whose servers never answer cost little, and only those who use them: look-ups are few, and they end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.kit.outbound import Call, PeerUnreachable, SystemResolver, TimedOut, resolving
from common.kit.outbound.names import PER_ACCOUNT, PER_DOMAIN, Names, domain_of
from tests.client import eventually
from tests.outside.nameserver import NameServer

ROOT = Path(__file__).resolve().parents[2]


# -- how many at once ----------------------------------------------------------------------------------------------


class Held:
    """A resolver that answers only when it is told to, except for `quick` names."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if not host.startswith("quick"):
            self.open.wait(60)
        return ["127.0.0.1"]


def lasting(seconds: float) -> Call:
    call = Call()
    call.begin(time.monotonic() + seconds)
    return call


@contextmanager
def waiting(names: Names, hosts: list[str], account: str | None) -> Iterator[list[BaseException | None]]:
    """Each of these names is wanted by somebody, who has little time."""
    outcomes: list[BaseException | None] = []
    with ThreadPoolExecutor(len(hosts)) as pool:
        jobs = [pool.submit(names.addresses, host, 443, lasting(30), account) for host in hosts]
        yield outcomes
        outcomes.extend(job.exception() for job in jobs)


@pytest.mark.parametrize(
    ("hosts", "account", "room"),
    [
        ([f"{n}.slow.example.com" for n in range(40)], None, PER_DOMAIN),
        ([f"{n}.a{n}.b{n}.slow.co.uk" for n in range(40)], None, PER_DOMAIN),
        ([f"slow{n}.example" for n in range(40)], "mallory", PER_ACCOUNT),
        ([f"slow{n}.co.uk" for n in range(40)], "mallory", PER_ACCOUNT),
    ],
    ids=["a domain", "a domain below a registry", "an account's many domains", "and below a registry"],
)
def test_few_at_once_and_nobody_else_waits(hosts: list[str], account: str | None, room: int) -> None:
    held = Held()
    names = Names(held)
    with waiting(names, hosts, account) as outcomes:
        eventually("look-ups up to the bound", 10, lambda: len(held.asked) == room)
        assert names.addresses("quick.other.example", 443, lasting(10), "alice")
        assert len([host for host in held.asked if host.startswith("quick")]) == 1
        assert len(held.asked) == room + 1
        held.open.set()
    assert outcomes == [None] * len(hosts), "who waited for room got it"
    assert sorted({*held.asked}) == sorted([*hosts, "quick.other.example"])


def test_whoever_finds_no_room_gives_up_in_time() -> None:
    held = Held()
    names = Names(held)
    with waiting(names, [f"{n}.slow.example.com" for n in range(PER_DOMAIN)], None):
        eventually("look-ups up to the bound", 10, lambda: len(held.asked) == PER_DOMAIN)
        with pytest.raises(TimedOut):
            names.addresses("another.slow.example.com", 443, lasting(0.2))
        held.open.set()
    assert names.addresses("another.slow.example.com", 443, lasting(10))


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("a.b.example.com", "example.com"),
        ("example.com", "example.com"),
        ("a.example.co.uk", "example.co.uk"),
        ("example.com.au", "example.com.au"),
        ("a.b.long.uk", "long.uk"),
        ("tool", "tool"),
    ],
)
def test_domains(host: str, domain: str) -> None:
    assert domain_of(host) == domain


# -- asking name servers -------------------------------------------------------------------------------------------


def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "LOOKUP_SECONDS", 0.8)
    with NameServer() as server, pytest.raises(OSError, match="Lifetime"):
        SystemResolver([server.address])("n1.slow.example.com", 443)
    assert {kind for _, kind in server.asked} == {"A", "AAAA"}


def test_both_families_in_turn() -> None:
    four, six = ["192.0.2.1", "192.0.2.2", "192.0.2.3"], ["2001:db8::1"]
    with NameServer({("both.example", "A"): four, ("both.example", "AAAA"): six}) as server:
        found = SystemResolver([server.address])("both.example", 443)
    assert sorted(found) == sorted([*four, *six])
    assert found[1] == six[0]


def test_one_family_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the server never says anything about the other."""
    monkeypatch.setattr(resolving, "LOOKUP_SECONDS", 0.8)
    answers = {("four.example", "A"): ["192.0.2.1"], ("six.example", "AAAA"): ["2001:db8::1"]}
    with NameServer({**answers, ("six.example", "A"): []}) as server:
        resolve = SystemResolver([server.address])
        assert resolve("four.example", 443) == ["192.0.2.1"]
        assert resolve("six.example", 443) == ["2001:db8::1"]


def test_no_such_name() -> None:
    empty: dict[tuple[str, str], list[str]] = {("empty.example", "A"): [], ("empty.example", "AAAA"): []}
    with NameServer(empty, missing={"missing.example"}) as server:
        resolve = SystemResolver([server.address])
        with pytest.raises(OSError, match="NXDOMAIN"):
            resolve("missing.example", 443)
        assert resolve("empty.example", 443) == []
        with pytest.raises(PeerUnreachable):
            Names(resolve).addresses("empty.example", 443, lasting(10))


def test_the_hosts_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("# ours\n192.0.2.7 Tools.Internal tools # here\n\n2001:db8::7\ttools\nnonsense\n")
    monkeypatch.setattr(resolving, "HOSTS", hosts)
    with NameServer() as server:
        resolve = SystemResolver([server.address])
        assert resolve("tools.internal", 80) == ["192.0.2.7"]
        assert resolve("tools", 80) == ["192.0.2.7", "2001:db8::7"]
    assert server.asked == []


def test_search_rules_of_resolv_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a cluster: short names are looked for in its domains."""
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 127.0.0.1\nsearch apps.internal\n")
    monkeypatch.setattr(resolving, "RESOLV_CONF", conf)
    resolver = resolving._resolver(1, ())
    with NameServer({("tool.apps.internal", "A"): ["10.0.0.7"], ("tool.apps.internal", "AAAA"): []}) as server:
        resolver.port = server.address[1]
        monkeypatch.setattr(resolving, "_changed", lambda _: 1)
        assert SystemResolver()("tool", 80) == ["10.0.0.7"]


def test_without_a_resolv_conf_names_are_unreachable_and_nothing_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "RESOLV_CONF", tmp_path / "missing")
    with pytest.raises(PeerUnreachable):
        Names(SystemResolver()).addresses("some.example", 443, lasting(10))


# -- under gevent, where threads are few ---------------------------------------------------------------------------

LOOKUPS = """
from gevent import monkey; monkey.patch_all()
import os, sys, time
import gevent
from common.kit import hashing
from common.kit.outbound import Call, SystemResolver, PeerUnreachable
from common.kit.outbound.names import Names

hub = gevent.get_hub()
names = Names(SystemResolver([("127.0.0.1", int(sys.argv[1]))]))

def wanted(n):
    call = Call()
    call.begin(time.monotonic() + 30)
    try:
        names.addresses(f"n{n}.slow{n // 4}.example", 443, call, f"account-{n // 4}")
    except PeerUnreachable:
        return "unreachable"

stuck = [gevent.spawn(wanted, n) for n in range(120)]
gevent.sleep(0.2)
print(sum(job.ready() for job in stuck), "ended")
print(hub.threadpool.size, "threads of the hub")
print(len(os.listdir("/proc/self/task")), "thread")

# Whatever has taken the threads of the hub, hashing has its own.
gate = monkey.get_original("threading", "Event")()
for _ in range(hub.threadpool.maxsize):
    hub.threadpool.spawn(gate.wait)
assert hashing.matches(hashing.make("a long sentence"), "a long sentence")
print(sum(job.ready() for job in stuck), "ended")
gate.set()
print({job.get() for job in stuck})
"""


def test_neither_the_loop_nor_passwords_wait_for_name_servers() -> None:
    with NameServer() as server:
        done = subprocess.run(
            [sys.executable, "-c", LOOKUPS, str(server.address[1])],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    said = ["0 ended", "0 threads of the hub", "1 thread", "0 ended", "{'unreachable'}"]
    assert done.stdout.splitlines() == said
    assert len({name for name, _ in server.asked}) >= 100, "they were looked up at once"
