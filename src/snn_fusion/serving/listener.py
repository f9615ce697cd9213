"""The one socket of a service."""

from __future__ import annotations

import socket

from snn_fusion.errors import BadInput


def bound(host: str, port: int) -> socket.socket:
    """A socket with this address that does not listen yet: until then connections are refused. Raises BadInput."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except socket.gaierror as error:
        raise BadInput("--host", f"{host} is no address: {error.strerror}", "127.0.0.1, for instance") from None
    except OSError as error:
        remedy = f"end the program that uses it, or choose another: --port {port % 65535 + 1}"
        raise BadInput("--port", f"{port} on {host} cannot be used: {error.strerror}", remedy) from None
    return found
