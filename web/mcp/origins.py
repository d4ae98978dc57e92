"""Which web pages may send requests here, and under which names this server may be addressed.

A page of anybody's can make a browser send requests to a server on the user's own machine or network, under a name that
leads there for the moment (DNS rebinding). It cannot choose the `Host` and `Origin` that the browser sends.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import current_app, request

from common.errors import Forbidden


def refuse_foreign() -> None:
    """Raises `Forbidden`: the request comes from another web page, or this server is not known by the name in `Host`.

    Known are the name of `PUBLIC_URL`, addresses, and names without a dot: no page can be loaded from another machine
    under one of these. Pages are those of `PUBLIC_URL` and `CORS_ORIGINS`, and on this machine those of this machine.
    """
    host = _host_of(f"//{request.headers.get('Host', '')}")
    if not (_is_local(host) or host == urlsplit(_public_url()).hostname):
        raise Forbidden("This server does not accept that host name. Use the host of its public URL.")
    origin = request.headers.get("Origin")
    if origin is not None and not _is_known(origin, host):
        raise Forbidden("Requests from pages of this origin are not accepted.")


def _is_known(origin: str, host: str) -> bool:
    public = urlsplit(_public_url())
    known = {f"{public.scheme}://{public.netloc}", *current_app.config["SETTINGS"].cors_origins}
    return origin.lower() in known or (_is_loopback(host) and _is_loopback(_host_of(origin)))


def _host_of(url: str) -> str:
    """The host that a URL names; empty if it names none, or is no URL."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _public_url() -> str:
    url: str = current_app.config["PUBLIC_URL"]
    return url.lower()


def _is_local(host: str) -> bool:
    """Whether it is an address, or a name that the public DNS does not know."""
    return "." not in host or _is_address(host)


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
