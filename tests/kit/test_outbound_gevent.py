"""The web process may run on gevent: there the watchdog and the look-ups are greenlets, and nothing may block them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
from gevent import monkey; monkey.patch_all()
import threading
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
import gevent
from common.kit.outbound import Aborted, Call, OutboundClient, TimedOut
from tests.kit import peers
from tests.kit.peers import OK, running

outbound = OutboundClient((ip_network("127.0.0.0/8"),), user_agent="test", resolve=lambda h, p: ["127.0.0.1"])

def send(url, **options):
    return outbound.request("POST", url, **{"headers": {}, "body": b"{}", "timeout": 20, "max_bytes": 1000, **options})

together = threading.Barrier(30, timeout=50)

def answers_all_at_once(peer, conn):
    peer.read(conn)
    together.wait()
    conn.sendall(OK)

with running(answers_all_at_once) as peer:
    jobs = [gevent.spawn(send, peer.url(host="tool.example")) for _ in range(30)]
    assert all(job.get().status == 200 for job in jobs)
print("together")

for phase, scheme in ((peers.hangs, "http"), (peers.never_reads, "https"), (peers.drips(b"", b"HTTP/1.1 100"), "http")):
    with running(phase) as peer:
        try:
            send(peer.url(scheme=scheme), timeout=0.4)
        except TimedOut:
            print("deadline")
        call = Call()
        threading.Timer(0.2, call.abort).start()
        try:
            send(peer.url(scheme=scheme), timeout=3600, call=call)
        except Aborted:
            print("aborted")
"""


def test_under_gevent() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["together"] + ["deadline", "aborted"] * 3
