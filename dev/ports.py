"""Find free loopback ports for servers that are about to start."""

from __future__ import annotations

import random
import socket

#: Below Linux's range of ephemeral ports, so that no outgoing connection takes the port before the server starts, and
#: above the ports of well-known services.
_RANGE = range(15_000, 32_000)


def free_ports(count: int) -> list[int]:
    """`count` different loopback ports that are currently unused."""
    found: list[int] = []
    for port in random.sample(_RANGE, len(_RANGE)):
        if len(found) == count:
            break
        if _is_free(port):
            found.append(port)
    return found


def free_port() -> int:
    """A loopback port that is currently unused."""
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
