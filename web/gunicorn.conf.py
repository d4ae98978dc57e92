"""gunicorn configuration for all environments: `gunicorn --config web/gunicorn.conf.py wsgi:app`.

It uses gevent (`web/server.py`), because thousands of clients wait in long-polls and event streams; psycopg and
redis-py cooperate with it. Each worker process creates the application after the fork (`preload_app` off), because
connections do not survive a fork.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from common.settings import load_or_exit

if TYPE_CHECKING:
    from gunicorn.workers.base import Worker

_settings = load_or_exit()

bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
workers = _settings.web_processes
worker_class = "web.server.Worker"
worker_connections = 4000
backlog = 2048
preload_app = False
proc_name = "joyfull-web"

#: A worker whose event loop is blocked for this long (seconds) is killed. Waiting requests do not block it.
timeout = 30
#: Seconds for open requests after SIGTERM. A long-poll may take longer; its client reconnects.
graceful_timeout = 10
#: Longer than the idle timeout of common load balancers (60 s), so that the proxy closes the connection first.
keepalive = 75

# Limits on the request head, enforced before the application is called.
limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 16384
#: The parser that the limits of `web/http/framing.py` are made for, and that our refusals are checked with.
http_parser = "python"

# No access log: the application's own log line has the user, the route and the request id.
accesslog = None
errorlog = "-"
loglevel = _settings.log_level.lower()

# No control socket: it would be created in the user's home directory.
control_socket_disable = True
# Only the application evaluates X-Forwarded-*: it knows the number of trusted proxies.
forwarded_allow_ips = ""


def child_exit(_server: object, worker: Worker) -> None:
    """Remove the gauges of a web process that has ended, as `prometheus_client.multiprocess.mark_process_dead` does.

    That library is not imported here: web processes would inherit it as it was before gevent patches.
    """
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        for gauges in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob(f"gauge_live*_{worker.pid}.db"):
            gauges.unlink(missing_ok=True)


# Modules that stay imported here are inherited by every later worker process; after a reload (SIGHUP) that would mix
# code of the old and the new release.
for _name in [name for name in sys.modules if name.partition(".")[0] == "common"]:
    del sys.modules[_name]
