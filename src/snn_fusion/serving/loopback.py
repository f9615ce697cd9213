"""A service without keys is for this computer only: what it listens on, and what each request says of its way here."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from snn_fusion.errors import BadInput
from snn_fusion.serving.problems import Problem

REMEDY = "set SNN_FUSION_SERVE_KEYS (see docs/serving.md), or listen on 127.0.0.1"


def check_hosts(hosts: Iterable[str]) -> None:
    """Raises BadInput if one of the addresses to listen on can be reached from outside."""
    for host in hosts:
        if not _loopback(host):
            raise BadInput("host", f"{host} can be reached from outside, and no token is asked for", REMEDY)


def listening() -> set[str]:
    """The IP addresses on which this process listens or is about to, whoever opened the sockets."""
    found = set()
    for file in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError):  # closed by now
            if not stat.S_ISSOCK(os.fstat(int(file.name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(file.name))) as one:
                tcp = one.family in (socket.AF_INET, socket.AF_INET6) and one.type == socket.SOCK_STREAM
                if tcp and not _connected(one) and one.getsockname()[1]:
                    found.add(str(one.getsockname()[0]))
    return found


def check_request(scope: Scope) -> None:
    """Raises Problem 403 for a request from outside, or one that a foreign web page sends through a local browser.

    A page cannot forge Host or Origin: the first would name the page's host if that name had been bound to 127.0.0.1
    (DNS rebinding), the second names the page itself.
    """
    headers = Headers(scope=scope)
    for side in ("server", "client"):  # where uvicorn got X-Forwarded-For from a proxy here, that is the client
        address = scope.get(side)
        if address and _is_address(address[0]) and not _loopback(address[0]):
            raise Problem(403, side, "is not on this computer, and no token is asked for", REMEDY)
    host = headers.get("host", "")
    if not _loopback(_name(host)):
        raise Problem(403, "Host", "is not this computer", "localhost, 127.0.0.1 or [::1]")
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2] != host:
        raise Problem(403, "Origin", "is another site", "pages of this service only")


@functools.lru_cache(maxsize=256)  # each request asks three times, of the same few
def _loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    if not _is_address(host):
        return False
    address = ipaddress.ip_address(host)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _is_address(host: str) -> bool:
    """Rather than the path of a Unix socket."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _name(host: str) -> str:
    """Without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _connected(one: socket.socket) -> bool:
    try:
        one.getpeername()
    except OSError:
        return False
    return True
