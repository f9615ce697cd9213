"""When a TLS server's certificate ends: asked of the server, since a new file helps nobody before it is reloaded."""

from __future__ import annotations

import socket
import ssl

from snn_fusion.errors import BadInput

ANSWER_S = 3.0


def parse_endpoint(text: str) -> tuple[str, int]:
    """HOST:PORT. Raises BadInput."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise BadInput(f"--tls {text}", "is not HOST:PORT", "for instance --tls nginx:443")
    return host.strip("[]"), int(port)


def certificate_end(host: str, port: int) -> float:
    """The certificate's `notAfter` in seconds since 1970.

    Raises OSError if nothing answers in TLS within 3 s. It is not asked whether the certificate is to be trusted: an
    expired one has a date too.
    """
    from cryptography.x509 import load_der_x509_certificate

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((host, port), timeout=ANSWER_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        shown = secured.getpeercert(binary_form=True)
    if shown is None:
        raise ConnectionError(f"{host}:{port} shows no certificate")
    return load_der_x509_certificate(shown).not_valid_after_utc.timestamp()
