"""Free loopback ports for servers of our own that are about to start."""

from __future__ import annotations

import random
import socket

#: Below the range from which Linux takes the ports of outgoing connections, so that none of those is in the way by the
#: time that the server starts; and above what well-known services have.
_RANGE = range(15_000, 32_000)


def free_ports(count: int) -> list[int]:
    """`count` different loopback ports that nobody listens on at this moment."""
    found: list[int] = []
    for port in random.sample(_RANGE, len(_RANGE)):
        if len(found) == count:
            break
        if _is_free(port):
            found.append(port)
    return found


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
