"""The one socket of a service."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import sys

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


SO_ATTACH_FILTER = 26  # <asm-generic/socket.h>
# Classic BPF (code, to skip if true, to skip if false, operand): a TCP header with the flag SYN is dropped.
NO_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


def take_no_more(listener: socket.socket) -> None:
    """From now on nobody can begin to connect; who has begun ends in the queue of `accept`.

    To close a socket with a connection in its queue resets it, and no look into the queue is the last one otherwise.
    On Linux alone: elsewhere whoever comes in that moment is reset.
    """
    if sys.platform == "linux":
        steps = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in NO_SYN))
        program = struct.pack("HL", len(NO_SYN), ctypes.addressof(steps))
        with contextlib.suppress(OSError):  # a kernel without filters
            listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
