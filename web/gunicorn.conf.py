"""How gunicorn serves the web room, everywhere: `gunicorn --config web/gunicorn.conf.py wsgi:app`.

gevent (in `web/server.py`), because thousands of clients wait in long-polls and event streams, and psycopg and redis-py
cooperate with it. The application is made in each worker process after the fork (`preload_app` off): connections do not
survive a fork.
"""

import os
import sys
from typing import Any

from common.settings import load_or_exit

_settings = load_or_exit()

bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
workers = _settings.web_processes
worker_class = "web.server.Worker"
worker_connections = 4000
backlog = 2048
preload_app = False
proc_name = "joyfull-web"

#: A worker whose event loop stands still for so long is killed. Waiting requests do not count: they yield.
timeout = 30
#: After SIGTERM: no new connections, and so long for the open ones (a long-poll may be longer; its client comes back).
graceful_timeout = 10
#: Longer than the idle time-out of common load balancers (60 s), so that the proxy closes first and never races us.
keepalive = 75

# Bounds on what is read before the application sees anything.
limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 16384

# No request is logged here: the application's own log line knows the user, the route and the request id.
accesslog = None
errorlog = "-"
loglevel = _settings.log_level.lower()

# No socket that takes commands, least of all in somebody's home directory.
control_socket_disable = True
# X-Forwarded-* is believed by the application alone, which is told how many proxies to trust.
forwarded_allow_ips = ""


def child_exit(_server: Any, worker: Any) -> None:
    """A web process has ended: its gauges must not count on."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from prometheus_client import multiprocess  # late: gevent has yet to patch what a worker imports

        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


# What stays imported here is what every later process begins with: after SIGHUP that would be code of the old release
# beside new one.
for _name in [name for name in sys.modules if name.partition(".")[0] == "common"]:
    del sys.modules[_name]
