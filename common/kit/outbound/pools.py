"""requests restricted to our rules: connections pooled by host, nothing decided by the request or the environment."""

from __future__ import annotations

import contextlib
import queue
import ssl
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from common.kit.outbound.addresses import Target
from common.kit.outbound.wire import Connection, TlsConnection, current

if TYPE_CHECKING:
    from urllib3._base_connection import BaseHTTPConnection

HOSTS = 256
CONNECTIONS_PER_HOST = 1_024
#: Close idle connections before the peer does: the shortest common keep-alive timeout is 5 s (Node, uvicorn).
MAX_IDLE = 4.0


class _Idle:
    """The idle connections of one host, most recently used first: the part of `LifoQueue` urllib3 uses, lock-free."""

    def __init__(self, maxsize: int) -> None:
        self._maxsize = maxsize
        self._connections: deque[Connection] = deque()

    def put(self, connection: Connection | None, block: bool = True) -> None:  # noqa: ARG002
        if len(self._connections) >= self._maxsize:
            raise queue.Full
        if connection is not None and connection.sock is not None:
            self._connections.append(connection)

    def get(self, block: bool = True, timeout: float | None = None) -> Connection:  # noqa: ARG002
        try:
            return self._connections.pop()
        except IndexError:
            raise queue.Empty from None

    def qsize(self) -> int:
        return len(self._connections)

    def close_stale(self) -> None:
        with contextlib.suppress(IndexError):  # another thread was faster
            while self._connections[0].idle_since < time.monotonic() - MAX_IDLE:
                self._connections.popleft().close()


class _Pool(HTTPConnectionPool):
    ConnectionCls = Connection
    QueueCls = _Idle  # type: ignore[assignment]  # not a LifoQueue, but all of one that is used

    def _get_conn(self, timeout: float | None = None) -> Connection:
        connection = cast("Connection", super()._get_conn(timeout))
        if connection.sock is not None and connection.idle_since < time.monotonic() - MAX_IDLE:
            connection.close()
        if connection.sock is not None:
            exchange = current.get()
            exchange.reused = True
            exchange.call.hold(connection.sock)
        return connection

    def _put_conn(self, conn: BaseHTTPConnection | None) -> None:
        if isinstance(conn, Connection):
            current.get().call.let_go()
            conn.idle_since = time.monotonic()
        super()._put_conn(conn)


class _TlsPool(_Pool, HTTPSConnectionPool):
    ConnectionCls = TlsConnection


class Prepared(requests.PreparedRequest):
    """A request whose URL is already parsed; nothing parses it again."""

    def __init__(self, method: str, target: Target, headers: Mapping[str, str], body: bytes | None) -> None:
        super().__init__()
        self.method = method
        self.target = target
        self.url = target.url
        self.headers = headers  # type: ignore[assignment]  # a plain dict suffices: it is only read
        self.body = body


class OutboundAdapter(HTTPAdapter):
    """requests' adapter using our pools. It overrides what must not depend on the request."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(HOSTS, CONNECTIONS_PER_HOST)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **_: object) -> None:
        manager = urllib3.PoolManager(connections, maxsize=maxsize, block=block, ssl_context=self._context)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        manager.key_fn_by_scheme = {"http": _pool_key, "https": _pool_key}  # type: ignore[dict-item]
        self.poolmanager = manager

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, *_: object, **__: object
    ) -> HTTPConnectionPool:
        target = _target(request)
        pool: HTTPConnectionPool = self.poolmanager.connection_from_host(target.host, target.port, target.scheme)
        return pool

    def cert_verify(self, *_: object) -> None:
        """Do nothing: the TLS context verifies. (requests would load its CA bundle for each connection.)"""

    def request_url(self, request: requests.PreparedRequest, *_: object) -> str:
        return _target(request).path

    def build_response(self, req: requests.PreparedRequest, resp: urllib3.BaseHTTPResponse) -> requests.Response:
        """Build the response without extracting cookies."""
        response = requests.Response()
        response.status_code = resp.status
        response.raw = resp
        response.request = req
        return response

    def close_stale(self) -> None:
        """Close connections that have been idle for more than `MAX_IDLE` seconds."""
        pools = self.poolmanager.pools
        for key in pools.keys():  # noqa: SIM118  # this container refuses iteration as not thread-safe
            pool = pools.get(key)
            if pool is not None and pool.pool is not None:
                pool.pool.close_stale()


def _target(request: requests.PreparedRequest) -> Target:
    return cast("Prepared", request).target


def _pool_key(context: Mapping[str, object]) -> tuple[object, object, object]:
    """Scheme, host and port: everything else that distinguishes connections is the same for the whole client."""
    return context["scheme"], context["host"], context["port"]
