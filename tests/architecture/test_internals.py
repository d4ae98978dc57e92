"""Internals of libraries that our code overrides or reads: an upgrade that removes one fails here, by its name.

Such a library has an upper bound in `requirements.in`, so that `make lock ARGS=--upgrade` does not go past what was
looked at. To raise a bound: raise it, lock, and read what changed around the names below.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


class Internal(NamedTuple):
    """`owner`: `module` or `module:Class`; `names`: its attributes, or those that its methods set on `self`."""

    package: str
    owner: str
    names: tuple[str, ...]
    used_in: str


INTERNALS = (
    Internal(
        "celery",
        "celery.worker.consumer.consumer:Consumer",
        ("on_send_event_buffered", "_flush_events", "hub"),
        "worker/broker.py",
    ),
    Internal("celery", "celery.worker.consumer.consumer:Consumer.Blueprint", ("default_steps",), "worker/app.py"),
    Internal("celery", "celery.worker.consumer.delayed_delivery", ("DelayedDelivery",), "worker/app.py"),
    Internal(
        "celery",
        "celery.events.dispatcher:EventDispatcher",
        ("send", "flush", "buffer_group", "buffer_limit"),
        "worker/task_events.py",
    ),
    Internal(
        "kombu",
        "kombu.transport.redis:Channel",
        ("basic_consume", "basic_ack", "basic_reject"),
        "worker/broker.py",
    ),
    Internal("kombu", "kombu.transport.redis", ("loads", "Transport"), "worker/broker.py"),
    Internal("kombu", "kombu.transport", ("TRANSPORT_ALIASES",), "worker/broker.py"),
    Internal("kombu", "kombu.transport.virtual.base:Transport", ("_callbacks",), "worker/broker.py"),
    Internal("kombu", "kombu.transport.memory:Channel", ("_get",), "common/queueing/templates.py"),
    Internal(
        "redis", "redis:Redis", ("execute_command", "pipeline", "response_callbacks"), "common/kit/redis/clients.py"
    ),
    Internal("redis", "redis.client:Pipeline", ("execute", "command_stack"), "common/kit/redis/clients.py"),
    Internal("redis", "redis.sentinel:Sentinel", ("discover_master", "sentinels"), "common/kit/redis/sentinel.py"),
    Internal("redis", "redis.cluster:NodesManager", ("initialize",), "common/kit/redis/cluster.py"),
    Internal("gunicorn", "gunicorn.util", ("write_error", "write_nonblock", "close"), "web/server.py"),
    Internal(
        "gunicorn",
        "gunicorn.workers.ggevent:GeventWorker",
        ("load_wsgi", "handle", "timeout_ctx", "handle_error"),
        "web/server.py",
    ),
    Internal("gunicorn", "gunicorn.http.wsgi:Response", ("force_close",), "web/server.py"),
    Internal("gunicorn", "gunicorn.http.errors", ("ParseException", "LimitRequestHeaders"), "web/server.py"),
    Internal("gunicorn", "gunicorn.http.parser:RequestParser", ("mesg_class",), "web/server.py"),
    Internal(
        "gunicorn",
        "gunicorn.http.message:Request",
        ("parse", "parse_headers", "set_body_reader", "max_buffer_headers", "body"),
        "web/http/framing.py",
    ),
    Internal("gunicorn", "gunicorn.http.body:ChunkedReader", ("parse_chunk_size",), "web/http/framing.py"),
    Internal("gunicorn", "gunicorn.http.body:Body", ("reader",), "web/http/framing.py"),
    Internal("gunicorn", "gunicorn.http.unreader:SocketUnreader", ("sock", "read"), "web/http/framing.py"),
    Internal("flask", "flask.json.provider:JSONProvider", ("_prepare_response_obj",), "web/app.py"),
    Internal(
        "flask-smorest",
        "flask_smorest:Blueprint",
        ("_prepare_response_content", "_make_doc_response_schema", "_prepare_doc_cbks"),
        "web/api/blueprint.py",
    ),
    Internal("psycopg", "psycopg:Connection", ("wait",), "common/kit/db/connection.py"),
    Internal("psycopg", "psycopg.errors", ("_WaitTimeout",), "common/kit/db/connection.py"),
    Internal(
        "urllib3",
        "urllib3:HTTPConnectionPool",
        ("_get_conn", "_put_conn", "QueueCls", "ConnectionCls", "pool"),
        "common/kit/outbound/pools.py",
    ),
    Internal(
        "urllib3",
        "urllib3:PoolManager",
        ("pool_classes_by_scheme", "key_fn_by_scheme", "connection_from_host", "pools"),
        "common/kit/outbound/pools.py",
    ),
    Internal("urllib3", "urllib3.connection:HTTPConnection", ("_new_conn",), "common/kit/outbound/wire.py"),
    Internal("urllib3", "urllib3:HTTPResponse", ("_connection", "read1"), "common/kit/outbound/client.py"),
    Internal(
        "requests",
        "requests.adapters:HTTPAdapter",
        ("init_poolmanager", "get_connection_with_tls_context", "cert_verify", "request_url", "build_response"),
        "common/kit/outbound/pools.py",
    ),
    Internal(
        "prometheus-client",
        "prometheus_client.mmap_dict:MmapedDict",
        ("read_all_values_from_file", "write_value"),
        "common/kit/metric_files.py",
    ),
    Internal("flower", "flower.views.monitor:Metrics", ("get",), "worker/flower.py"),
    Internal(
        "python",
        "http.client:HTTPResponse",
        ("_read_and_discard_trailer", "begin", "fp"),
        "common/kit/outbound/wire.py",
    ),
    Internal("python", "http.client:HTTPConnection", ("response_class",), "common/kit/outbound/wire.py"),
    Internal("python", "ssl:SSLContext", ("sslsocket_class",), "common/kit/outbound/wire.py"),
)


def _owner(reference: str) -> Any:
    module, _, path = reference.partition(":")
    found: Any = import_module(module)
    for name in path.split(".") if path else ():
        found = getattr(found, name)
    return found


def _has(owner: Any, name: str) -> bool:
    classes = owner.__mro__[:-1] if inspect.isclass(owner) else ()
    return hasattr(owner, name) or any(f"self.{name} = " in inspect.getsource(each) for each in classes)


@pytest.mark.parametrize("internal", INTERNALS, ids=lambda internal: internal.owner)
def test_it_is_still_there(internal: Internal) -> None:
    try:
        owner = _owner(internal.owner)
    except (ImportError, AttributeError) as error:
        pytest.fail(f"{internal.package}: {internal.owner} is gone ({error}); {internal.used_in} needs it")
    gone = [name for name in internal.names if not _has(owner, name)]
    assert not gone, (
        f"{internal.package}: {internal.owner} has no {', '.join(gone)} any more; {internal.used_in} needs it"
    )


@pytest.mark.parametrize("internal", INTERNALS, ids=lambda internal: internal.owner)
def test_it_is_still_used_there(internal: Internal) -> None:
    text = (ROOT / internal.used_in).read_text(encoding="utf-8")
    unused = [name for name in internal.names if name not in text]
    assert not unused, f"{internal.used_in} does not mention {', '.join(unused)}: shorten the list, or the bound"


@pytest.mark.parametrize("package", sorted({internal.package for internal in INTERNALS} - {"python"}))
def test_its_library_has_an_upper_bound(package: str) -> None:
    lines = (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()
    wanted = {found.name: found for found in (Requirement(line) for line in lines if line[:1].isalpha())}
    operators = {specifier.operator for specifier in wanted[package].specifier}
    assert operators & {"~=", "<", "<=", "=="}, f"{package}: our code uses internals of it; bound it in requirements.in"


def test_redis_pipelines_are_made_as_redis_py_makes_them() -> None:
    parameters = list(inspect.signature(redis.client.Pipeline.__init__).parameters)
    assert parameters[1:5] == ["connection_pool", "response_callbacks", "transaction", "shard_hint"]
