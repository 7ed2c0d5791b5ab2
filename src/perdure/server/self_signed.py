"""A certificate for development, signed by itself, that lives as long as the server."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .serving import TlsFiles

VALID_DAYS: Final = 30
"""A server that runs for longer should have a certificate of its own."""

_LOCAL_NAMES: Final = ("localhost", "*.b.localhost", "127.0.0.1", "::1")


def make_certificate(names: tuple[str, ...]) -> tuple[bytes, bytes]:
    """A self-signed certificate for host names and addresses, and its private key, both as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "perdure development server")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))  # clocks differ
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        # No authority: it may sign nothing else, and rustls refuses a server that shows an authority's certificate.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@contextmanager
def self_signed(host: str, basin_domain: str | None) -> Iterator[TlsFiles]:
    """Files for a server on `host`, gone when the context ends. Only their owner can read the key."""
    names = (*_LOCAL_NAMES, *((host,) if host else ()), *((f"*.{basin_domain}",) if basin_domain else ()))
    certificate, key = make_certificate(tuple(dict.fromkeys(names)))
    with tempfile.TemporaryDirectory(prefix="perdure-tls-") as directory:  # made with mode 0700
        files = TlsFiles(certificate=Path(directory, "certificate.pem"), key=Path(directory, "key.pem"))
        _write(files.certificate, certificate)
        _write(files.key, key)
        yield files


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode() if not name.isascii() else name)


def _write(path: Path, content: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
