"""The platform in production mode behind the nginx of `ops/nginx`: what clients see, and what they cannot hold open."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from common.settings import load
from dev import platform as parts
from dev.platform import Platform
from dev.ports import free_port
from dev.supervisor import Supervisor
from tests.client import Client
from tests.conftest import ROOT

Offer = Callable[..., str]
PATIENCE = 60
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
MAIN = """
{user}daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/joyfull.conf;
}}
"""


@dataclass(frozen=True, slots=True)
class Front:
    """The proxy, and the platform behind it."""

    plain: int
    port: int
    certificate: Path
    hub: Platform
    log: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def client(self) -> Client:
        return Client(self.url, verify=self.trust)

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def get(self, path: str) -> httpx.Response:
        return self.client().http.get(f"{self.url}{path}", timeout=PATIENCE)

    def raw(self, request: bytes) -> bytes:
        """What comes back until the proxy closes the connection."""
        with (
            socket.create_connection(("localhost", self.port), timeout=PATIENCE) as plain,
            self.trust.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(request)
            received = b""
            while piece := _received(connection):
                received += piece
            return received


def _received(connection: ssl.SSLSocket) -> bytes:
    try:
        return connection.recv(65_536)
    except (ConnectionResetError, ssl.SSLEOFError):
        return b""


def certify(directory: Path) -> tuple[Path, Path]:
    """A certificate of our own for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    signed = made.add_extension(names, critical=False).sign(key, hashes.SHA256())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "key.pem").write_bytes(key.private_bytes(*form))
    (directory / "certificate.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return directory / "certificate.pem", directory / "key.pem"


def configured(directory: Path, plain: int, port: int, web: int) -> Path:
    """The configuration as it is shipped, with our names and ports."""
    certificate, key = certify(directory)
    text = (ROOT / "ops" / "nginx" / "joyfull.conf").read_text()
    changes = {
        r"listen \[::\].*": "",
        r"listen 80;": f"listen 127.0.0.1:{plain};",
        r"listen 443 ": f"listen 127.0.0.1:{port} ",
        r"server 127.0.0.1:8000;": f"server 127.0.0.1:{web};",
        r"/etc/ssl/joyfull/fullchain.pem": str(certificate),
        r"/etc/ssl/joyfull/privkey.pem": str(key),
    }
    for pattern, replacement in changes.items():
        text, count = re.subn(pattern, replacement, text)
        assert count, pattern
    (directory / "joyfull.conf").write_text(text)
    user = "user root;\n" if os.getuid() == 0 else ""
    (directory / "nginx.conf").write_text(MAIN.format(user=user, directory=directory))
    return directory / "nginx.conf"


@pytest.fixture(scope="module")
def front(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    if NGINX is None:
        pytest.skip("nginx is not here")
    directory = tmp_path_factory.mktemp("nginx")
    plain, port, web = free_port(), free_port(), free_port()
    env = {
        **environ,
        "ENV": "production",
        "JWT_SECRET_KEY": secrets.token_hex(32),
        "SECRETS_KEYS": secrets.token_hex(32),
        "FLOWER_BASIC_AUTH": f"ops:{secrets.token_hex(16)}",
        "PUBLIC_URL": f"https://localhost:{port}",
        "HOST": "127.0.0.1",
        "PORT": str(web),
        "TRUSTED_PROXIES": "1",
    }
    logs = tmp_path_factory.mktemp("log")
    hub = Platform(load(env), env, Supervisor(env, logs, ROOT), passwords={}, tools_port=0)
    hub.supervisor.start(parts.web(hub.settings), parts.worker("invocations", 8))
    proxy = subprocess.Popen([NGINX, "-c", str(configured(directory, plain, port, web)), "-p", str(directory)])
    try:
        running = Front(plain, port, directory / "certificate.pem", hub, logs / "web.log")
        hub.supervisor.wait_for(lambda: parts.serving(f"{hub.url}/ready"), "web")
        hub.supervisor.wait_for(lambda: _answers(port), "nginx")
        yield running
    finally:
        proxy.terminate()
        proxy.wait(PATIENCE)
        hub.supervisor.stop()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def client(db: None, front: Front) -> Client:
    return front.client().join()


def test_an_invocation_and_its_stream(client: Client, offer: Offer, front: Front) -> None:
    """The first event comes while the tool works: nobody holds the stream back."""
    made = client.invoke(offer("/echo?after=3000"), {"text": "hello"})
    events = []
    with closing(client.opened(f"/invocations/{made['id']}/events", timeout=PATIENCE)) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data:"):
                events.append(json.loads(line[5:])["status"])
    assert events[0] in ("queued", "running")
    assert events[-1] == "succeeded"
    assert client.tokens()["charged"] == 6


def test_what_production_does_not_show(db: None, front: Front) -> None:
    ready = front.get("/ready")
    assert ready.status_code == 200
    assert "max-age=" in ready.headers["Strict-Transport-Security"]
    assert not re.search(r"\d", ready.headers["Server"])
    for path in ("/metrics", "/docs"):
        assert front.get(path).status_code == 404, path
    moved = httpx.get(f"http://127.0.0.1:{front.plain}/ready", timeout=PATIENCE, trust_env=False)
    assert (moved.status_code, moved.headers["Location"][:8]) == (308, "https://")


def test_who_calls_is_what_the_proxy_saw(client: Client, front: Front) -> None:
    for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Client-IP"):
        claimed = {header: "for=203.0.113.9" if header == "Forwarded" else "203.0.113.9"}
        body = {"email": client.email, "password": "wrong wrong wrong"}
        refused = client.http.post(f"{client.api}/auth/login", json=body, headers=claimed, timeout=PATIENCE)
        assert refused.status_code == 401
    made = client.http.get(f"{client.api}/users/me", headers={"X-Forwarded-Host": "evil.example"}, timeout=PATIENCE)
    assert "evil.example" not in made.text + str(made.headers)
    assert "203.0.113.9" not in front.log.read_text()


@pytest.mark.parametrize(
    ("size", "code"),
    [(1_100_000, "payload_too_large"), (30_000_000, "payload_too_large"), (900_000, "unauthenticated")],
)
def test_bodies_that_are_too_large(db: None, front: Front, size: int, code: str) -> None:
    """Whoever refuses them, it is said in the same way."""
    answer = front.client().http.post(
        f"{front.url}/api/v1/tools/x/invoke",
        content=b" " * size,
        headers={"Content-Type": "application/json", "Expect": ""},
        timeout=PATIENCE,
    )
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json()["code"] == code
    assert answer.headers["X-Request-ID"] == answer.json()["request_id"]


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"HELLO\r\n\r\n",
    ],
)
def test_what_is_no_request_goes_no_further(db: None, front: Front, request_: bytes) -> None:
    assert front.raw(request_).split(b" ")[1] in (b"400", b"404", b"405")


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /health HTT",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{",
    ],
)
def test_half_a_request_is_given_up(db: None, front: Front, request_: bytes) -> None:
    """The connection is closed by the proxy; web has never heard of it."""
    before = front.log.read_text().count("/auth/login")
    assert b" 200 " not in front.raw(request_)[:20]
    assert front.log.read_text().count("/auth/login") == before


def test_so_many_connections_of_one_address(client: Client, offer: Offer, front: Front) -> None:
    """200 may wait; the next is told so, in our words, and when some have gone there is room again."""
    made = client.invoke(offer("/hang", timeout_seconds=600), {"text": "x"})
    streams: list[httpx.Response] = []
    try:
        for _ in range(210):
            streams.append(client.opened(f"/invocations/{made['id']}/events", timeout=PATIENCE))
        assert 429 in [stream.status_code for stream in streams]
    finally:
        for stream in streams:
            stream.close()
    client.invocations.cancel(made["id"])
