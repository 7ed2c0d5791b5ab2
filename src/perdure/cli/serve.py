"""`perdure serve`: the S2 API over a data directory, by one worker process or several."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import re
import resource
import shlex
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from .. import __version__
from ..errors import PerdureError, UsageError
from ..server.access import RootToken
from ..server.context import ServerSettings
from ..server.declared import DeclaredBasin, read_init_file
from ..server.limits import ServerLimits
from ..server.log_lines import LogFormat, log_to_stderr
from ..server.self_signed import self_signed
from ..server.serving import TlsFiles, listen
from ..server.supervisor import ROOT_TOKEN_VARIABLE, Supervisor
from ..server.worker_settings import NamedLocation, WorkerSettings
from ..store.opening import absolute, check_where, is_url, shown
from ..store.sqlite.directory import MEMORY
from .exits import ExitStatus
from .serve_options import DEFAULT_DATA, OPTION_OF_LIMIT, LimitOptions, ServeOptions
from .targets import DATA_VARIABLE, ENGINE_VARIABLE

logger: Final = logging.getLogger("perdure.cli.serve")

_MAX_SECRET_BYTES: Final = 4096


def run_serve(options: ServeOptions) -> int:
    """Serve until a signal comes; gives the exit status. Raises `PerdureError` and `OSError`."""
    log_format = LogFormat(options.log_format)
    log_to_stderr(log_format, options.log_level)
    try:
        return _serve(options, log_format)
    except (PerdureError, OSError) as exc:
        if log_format is LogFormat.TEXT:
            raise  # said like the failure of any other command
        logger.critical("%s", exc)
        return ExitStatus.USAGE if isinstance(exc, UsageError) else ExitStatus.FAILED


def _serve(options: ServeOptions, log_format: LogFormat) -> int:
    workers = options.workers
    data, locations = kept_in(options)
    if MEMORY in (data, *[each.where for each in locations]) and workers > 1:
        raise UsageError(
            f"each worker would have a private store of its own; give a directory as --data, or leave out --workers "
            f"{workers}"
        )
    token = _root_token_of(options)
    if token is None and not options.insecure:
        check_loopback(options.host)
    _lift_descriptor_limit()
    settings = ServerSettings(
        limits=limits_of(options.limits), cors=not options.no_cors, basin_domain=options.basin_domain or None
    )
    declared = declared_by(options)  # before anything is opened, since a mistake in it ends the start
    listener = bound(options.host, options.port)
    with listener, tls_files(options, settings.basin_domain) as tls:
        worker = WorkerSettings(
            name="",
            data=data,
            locations=locations,
            pinned=options.pin_workers,
            listener=listener.fileno(),
            server=settings,
            root_token=token,
            declared=declared,
            certificate=None if tls is None else str(tls.certificate.absolute()),
            key=None if tls is None else str(tls.key.absolute()),
            inspector=options.ui,
            log_format=log_format,
            log_level=options.log_level,
        )
        port: int = listener.getsockname()[1]
        banner = _banner(options, port, tls, worker)
        supervisor = Supervisor(listener, worker, workers=workers, renew=partial(renewed, options))
        return asyncio.run(supervisor.run(_printer(banner)))


def kept_in(options: ServeOptions) -> tuple[str, tuple[NamedLocation, ...]]:
    """Where the data is: in one store, or in those of several locations. Raises `UsageError`."""
    if options.locations:
        found = tuple(NamedLocation(name, absolute(where)) for name, where in options.locations)
        for what, values in (("name", {each.name for each in found}), ("store", {each.where for each in found})):
            if len(values) < len(found):
                raise UsageError(f"each --location needs a {what} of its own")
        for each in found:
            check_where(each.where)
        return "", found
    from_environment = os.environ.get(ENGINE_VARIABLE) or os.environ.get(DATA_VARIABLE)
    data = absolute(options.engine or options.data or from_environment or DEFAULT_DATA)
    check_where(data)
    return data, ()


def renewed(options: ServeOptions, worker: WorkerSettings) -> WorkerSettings:
    """`worker` with what its files hold by now. Raises `UsageError` when they cannot be used."""
    return msgspec.structs.replace(worker, root_token=_root_token_of(options), declared=declared_by(options))


def _root_token_of(options: ServeOptions) -> str | None:
    return root_token(options.root_token_file, os.environ.get(ROOT_TOKEN_VARIABLE))


def declared_by(options: ServeOptions) -> tuple[DeclaredBasin, ...]:
    """What the init file declares now. New workers read the certificate, so that is looked at. Raises `UsageError`."""
    if options.tls_cert and options.tls_key:
        check_certificate(options.tls_cert, options.tls_key)
    return () if options.init_file is None else read_init_file(Path(options.init_file))


def root_token(file: str | None, variable: str | None) -> str | None:
    """The root token: from the file if there is one, else from the environment; None if neither has any.

    Raises `UsageError` for a file that cannot be read, and for a token that could not be sent.
    """
    if file is not None:
        try:
            secret = Path(file).read_bytes()[: _MAX_SECRET_BYTES + 1]
        except OSError as exc:
            raise UsageError(f"cannot read the root token from {file}: {exc.strerror}") from exc
        text, source = secret.decode("utf-8", "replace").strip(), f"the file {file}"
    elif variable is not None:
        text, source = variable.strip(), ROOT_TOKEN_VARIABLE
    else:
        return None
    if len(text) > _MAX_SECRET_BYTES:
        raise UsageError(f"the root token in {source} is longer than {_MAX_SECRET_BYTES} bytes")
    try:
        RootToken(text)
    except UsageError as exc:
        raise UsageError(f"{exc.message} (read from {source})") from None
    return text


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address. Raises `OSError` for an unknown host."""
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", None, type=socket.SOCK_STREAM)
    except socket.gaierror as exc:
        raise OSError(_no_address(host, exc)) from exc
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)


def check_loopback(host: str) -> None:
    """Refuse an address that other machines can reach. Raises `UsageError`, and `OSError` for an unknown host."""
    if not is_loopback(host):
        raise UsageError(
            f"{host or 'an empty --host'} can be reached by other machines, and without a root token everybody may do "
            f"everything: set {ROOT_TOKEN_VARIABLE} or --root-token-file, listen on 127.0.0.1, or say --insecure"
        )


def limits_of(options: LimitOptions) -> ServerLimits:
    """The server's limits, with those that the command line sets. Raises `UsageError`."""
    try:
        return ServerLimits(**{name: getattr(options, name) for name in OPTION_OF_LIMIT})
    except UsageError as exc:
        message = exc.message
        for field, option in OPTION_OF_LIMIT.items():
            message = re.sub(rf"\A{field}\b", option, message)
        raise UsageError(message) from None


def _lift_descriptor_limit() -> None:
    """Each connection is a file descriptor, and the limit that systems begin with is far below what they allow."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (OSError, ValueError) as exc:  # macOS does not allow what it says that it allows
        logger.debug("the limit of file descriptors stays as it is: %s", exc)


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `OSError`, which says what to do."""
    try:
        return listen(host, port)
    except socket.gaierror as exc:
        raise OSError(_no_address(host, exc)) from exc
    except OSError as exc:
        if exc.errno == errno.EADDRNOTAVAIL:
            raise OSError(_no_address(host, exc)) from exc
        raise OSError(f"cannot listen on {host}:{port} ({exc.strerror}); choose another with --port") from exc


def _no_address(host: str, exc: OSError) -> str:
    return f"cannot listen on {host}: {exc.strerror}; give an address of this machine as --host"


@contextmanager
def tls_files(options: ServeOptions, basin_domain: str | None) -> Iterator[TlsFiles | None]:
    """The certificate that the command line asks for, if it asks for one. Raises `UsageError`."""
    if options.tls_self:
        if options.tls_cert or options.tls_key:
            raise UsageError("give either --tls-self or --tls-cert and --tls-key")
        data, locations = kept_in(options)
        if locations or is_url(data):
            raise UsageError(
                "--tls-self keeps its certificate in a data directory, which --engine and --location do not have; "
                "give --tls-cert and --tls-key"
            )
        with self_signed(data, options.host, basin_domain) as files:
            yield files
    elif options.tls_cert or options.tls_key:
        if not (options.tls_cert and options.tls_key):
            raise UsageError("--tls-cert and --tls-key belong together; give both")
        yield TlsFiles(certificate=Path(options.tls_cert), key=Path(options.tls_key))
    else:
        yield None


def check_certificate(certificate: str, key: str) -> None:
    """Find out now whether a server could use these files. Raises `UsageError`."""
    for file in (certificate, key):
        try:
            Path(file).read_bytes()
        except OSError as exc:
            raise UsageError(
                f"cannot read {file} ({exc.strerror}); give PEM files as --tls-cert and --tls-key"
            ) from exc

    def no_password() -> str:
        raise UsageError(f"the private key in {key} wants a password; give a file that holds it without one")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as exc:
        why = f" ({exc.reason})" if exc.reason else ""
        raise UsageError(
            f"{certificate} and {key} are not a certificate chain and its private key as PEM files{why}"
        ) from exc


def _printer(banner: str) -> Callable[[], None]:
    def show() -> None:
        print(banner, file=sys.stdout, flush=True)

    return show


def _banner(options: ServeOptions, port: int, tls: TlsFiles | None, worker: WorkerSettings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(options.host, options.host)
    url = f"{'http' if tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{port}"
    if worker.root_token is not None:
        access, example = "by access token; the root token is set", _token_example(options.root_token_file)
    else:
        access, example = "open: whoever reaches this address may do everything (no root token is set)", "any"
    if worker.locations:
        kept = [f"location        {each.name}: {_shown_store(each.where)}" for each in worker.locations]
        kept[0] += " (home)"
    else:
        kept = [f"data            {_shown_store(worker.data)}"]
    lines = [
        f"Perdure {__version__}   {url}",
        *kept,
        f"workers         {options.workers}",
        f"access          {access}",
    ]
    if options.ui:
        lines.append(f"inspector       {url}/ui")
    if tls is not None and options.tls_self:
        lines.append(f"certificate     {tls.certificate}, self-signed: clients must be told to trust it")
    lines += [
        "",
        "Point an S2 SDK at it:",
        "",
        f'  export S2_ACCOUNT_ENDPOINT="{url}"',
        f'  export S2_BASIN_ENDPOINT="{url}"',
        f'  export S2_ACCESS_TOKEN="{example}"',
        "",
        "Ctrl-C or SIGTERM ends it, SIGHUP replaces its workers.",
    ]
    return "\n" + "\n".join(f"  {line}".rstrip() for line in lines) + "\n"


def _shown_store(where: str) -> str:
    return "in memory, gone when the server ends" if where == MEMORY else shown(where)


def _token_example(file: str | None) -> str:
    """How a shell gets at the root token, which is itself never shown."""
    return f"${ROOT_TOKEN_VARIABLE}" if file is None else f"$(cat {shlex.quote(file)})"
