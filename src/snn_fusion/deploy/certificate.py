"""The certificate that nginx shows: one that was given, checked, or one that this stack signs for itself."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from snn_fusion.deploy.secret_files import write_secret
from snn_fusion.errors import BadInput

DAYS = 397  # the longest that browsers take
REMEDY = "a PEM file of the certificate and its chain, and one of its private key without a password"


def check(folder: Path, host: str, given: tuple[Path, Path] | None) -> None:
    """Look at the certificate that was `given`, else at the one in `folder`, if there is one.

    Raises BadInput if it does not fit its key or the host, or is over.
    """
    certificate, key = given or (folder / "tls.crt", folder / "tls.key")
    if given or (certificate.exists() and key.exists()):
        _check(_read(certificate), _read(key), host, certificate)


def settle(folder: Path, host: str, given: tuple[Path, Path] | None) -> str:
    """See to tls.crt and tls.key in `folder`: copy what was `given`, keep what is there, or make one for `host`.

    Returns what was done. Raises BadInput as `check`.
    """
    check(folder, host, given)
    certificate, key = folder / "tls.crt", folder / "tls.key"
    there = certificate.exists() and key.exists()
    if given:
        chain, private = (_read(path) for path in given)
        if not there or (_read(certificate), _read(key)) != (chain, private):
            write_secret(key, private.decode())
            write_secret(certificate, chain.decode())
    elif not there:
        _make(certificate, key, host)
        return f"certificate: self-signed, {DAYS} days; give one that others trust with --certificate and --key"
    return f"certificate: until {ends(certificate):%Y-%m-%d}"


def ends(path: Path) -> datetime.datetime:
    """When a certificate is over. Raises BadInput."""
    return _certificate(_read(path), path).not_valid_after_utc


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(path, f"cannot be read: {error.strerror}", REMEDY) from None


def _certificate(pem: bytes, where: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(pem)[0]
    except ValueError:
        raise BadInput(where, "is not a certificate in PEM form", REMEDY) from None


def _check(certificate: bytes, key: bytes, host: str, where: Path) -> x509.Certificate:
    found = _certificate(certificate, where)
    try:
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError):
        raise BadInput(where, "its key cannot be read", REMEDY) from None
    if private.public_key() != found.public_key():
        raise BadInput(where, "is not of the key that was given with it", "the certificate's own key")
    now = datetime.datetime.now(datetime.UTC)
    if found.not_valid_after_utc <= now:
        raise BadInput(
            where, f"ended on {found.not_valid_after_utc:%Y-%m-%d}", "renew it; a self-signed one: delete it"
        )
    if found.not_valid_before_utc > now:
        raise BadInput(where, f"begins on {found.not_valid_before_utc:%Y-%m-%d}", "compare the clocks, or wait")
    names = _names(found)
    if not any(_covers(name, host) for name in names):
        remedy = f"one for {host}, or --host with one of these; a self-signed one: delete it"
        raise BadInput(where, f"is for {', '.join(names) or 'nobody'}, not for {host}", remedy)
    return found


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [str(one) for one in found.get_values_for_type(x509.IPAddress)]
    return [*found.get_values_for_type(x509.DNSName), *addresses]


def _covers(name: str, host: str) -> bool:
    if name.startswith("*."):
        return host.partition(".")[2] == name[2:].lower()
    return name.lower() == host


def _make(certificate: Path, key: Path, host: str) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    alternatives = [x509.DNSName(one) for one in dict.fromkeys((host, "localhost"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(
            x509.SubjectAlternativeName([*alternatives, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(private, hashes.SHA256())
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_secret(key, pem.decode())
    write_secret(certificate, made.public_bytes(serialization.Encoding.PEM).decode())
