"""A certificate for development, signed by itself, that lives as long as the data of the server."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..errors import StorageFailed
from ..store.sqlite.directory import MEMORY, DataDirectory
from ..store.sqlite.locks import FileLock
from .serving import TlsFiles

VALID_DAYS: Final = 365
"""A server that runs for longer should have a certificate of its own."""

RENEWED_DAYS: Final = 60
"""A server that starts so long before its certificate expires makes another one."""

_LOCAL_NAMES: Final = ("localhost", "*.b.localhost", "127.0.0.1", "::1")


def make_certificate(names: tuple[str, ...], now: dt.datetime | None = None) -> tuple[bytes, bytes]:
    """A self-signed certificate for host names and addresses, and its private key, both as PEM; valid from `now`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "perdure development server")])
    now = now or dt.datetime.now(dt.UTC)
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
def self_signed(data: str, host: str, basin_domain: str | None) -> Iterator[TlsFiles]:
    """Files for a server on `host`, which only their owner can read.

    They are kept in the data directory, so clients that trust the certificate trust the next server, too. Those of a
    private store are in memory like it, and gone when the context ends; if the process is killed, the next one that has
    a private store removes them.
    Raises `UsageError` and `StorageFailed` when the data directory cannot be used.
    """
    names = (*_LOCAL_NAMES, *((host,) if host else ()), *((f"*.{basin_domain}",) if basin_domain else ()))
    directory = DataDirectory.prepare(data)
    users = FileLock(directory.users_lock)
    try:
        if data == MEMORY:
            users.try_share()  # as long as somebody has it, the directory is not taken for an abandoned one
        try:
            files = kept_certificate(directory.path / "tls", tuple(dict.fromkeys(names)), dt.datetime.now(dt.UTC))
        except OSError as exc:
            raise StorageFailed(f"cannot keep the certificate in {directory.path / 'tls'}: {exc.strerror}") from exc
        yield files
    finally:
        users.close()
        directory.remove()


def kept_certificate(directory: Path, names: tuple[str, ...], now: dt.datetime) -> TlsFiles:
    """The files in `directory`; new ones if they are no pair, lack a name, or are about to expire. Raises `OSError`."""
    files = TlsFiles(certificate=directory / "certificate.pem", key=directory / "key.pem")
    directory.mkdir(0o700, exist_ok=True)
    with closing(FileLock(directory / "lock")) as lock:
        lock.acquire()  # whoever has it writes two small files
        if not _is_good(files, names, now):
            certificate, key = make_certificate(names, now)
            _write(files.key, key)
            _write(files.certificate, certificate)
    return files


def _is_good(files: TlsFiles, names: tuple[str, ...], now: dt.datetime) -> bool:
    try:
        found = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        key = serialization.load_pem_private_key(files.key.read_bytes(), None)
        named = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    return (
        found.public_key() == key.public_key()
        and {_general_name(name) for name in names} <= set(named)
        and found.not_valid_before_utc <= now <= found.not_valid_after_utc - dt.timedelta(days=RENEWED_DAYS)
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode() if not name.isascii() else name)


def _write(path: Path, content: bytes) -> None:
    """Put a file in place whole, readable by its owner only."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    new.replace(path)
