"""What `perdure serve` refuses before it does anything: values that make no sense, and files that it could not use."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from perdure.cli import main
from perdure.cli.app import build_app
from perdure.cli.option_types import domain
from perdure.cli.serve import check_certificate, kept_in, limits_of, root_token, tls_files
from perdure.cli.serve_options import DEFAULT_DATA, OPTION_OF_LIMIT, ServeOptions
from perdure.cli.targets import DATA_VARIABLE, ENGINE_VARIABLE
from perdure.errors import UsageError
from perdure.server.limits import DEFAULT_LIMITS, ServerLimits
from perdure.server.self_signed import make_certificate
from perdure.server.worker_settings import NamedLocation
from perdure.store.opening import shown

LIMITS = [(option, field, type(getattr(DEFAULT_LIMITS, field))) for field, option in OPTION_OF_LIMIT.items()]


def parsed(*options: str) -> ServeOptions:
    _, bound, _ = build_app().parse_args(["serve", *options], exit_on_error=False, print_error=False)
    given: ServeOptions = bound.arguments.get("options", ServeOptions())
    return given


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--data", ""),
        ("backup", "--data", "", "target"),
        ("backup", "--data", "data", ""),
        ("restore", "", "--data", "data"),
        ("serve", "--workers", "0"),
        ("serve", "--port", "65536"),
        ("serve", "--port", "\N{ARABIC-INDIC DIGIT ONE}"),
        ("serve", "--basin-domain", "b.example.com:443"),
        ("serve", "--basin-domain", "b.example.com."),
        ("serve", "--basin-domain", "two words"),
        ("serve", "--max-sessions", "many"),
        ("serve", "--log-level", "all"),
        ("serve", "--engine", "directory"),
        ("serve", "--engine", "mysql://host/database"),
        ("serve", "--location", "name"),
        ("serve", "--location", "a name=directory"),
        ("serve", "--location", "=directory"),
        ("serve", "--location", "name=directory", "--data", "directory"),
        ("serve", "--engine", "postgres://host/database", "--data", "directory"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"perdure {arguments[0]}: ")
    assert "Traceback" not in told


@pytest.mark.parametrize(("text", "name"), [("b.Example.com", "b.example.com"), ("", ""), ("my_host", "my_host")])
def test_a_domain_is_a_host_name(text: str, name: str) -> None:
    assert domain(text) == name


class TestWhereDataIs:
    def test_the_options_go_before_the_environment(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        assert kept_in(parsed()) == (str(tmp_path / DEFAULT_DATA), ())
        monkeypatch.setenv(DATA_VARIABLE, "directory")
        assert kept_in(parsed()) == (str(tmp_path / "directory"), ())
        monkeypatch.setenv(ENGINE_VARIABLE, str(tmp_path / "from the environment"))
        assert kept_in(parsed()) == (str(tmp_path / "from the environment"), ())
        assert kept_in(parsed("--data", "given")) == (str(tmp_path / "given"), ())
        assert kept_in(parsed("--location", "a=one", "--location", "b:2=:memory:")) == (
            "",
            (NamedLocation("a", str(tmp_path / "one")), NamedLocation("b:2", ":memory:")),
        )

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--location", "a=one", "--location", "a=two"), "a name of its own"),
            (("--location", "a=one", "--location", "b=./one"), "a store of its own"),
            (("--location", "a=one", "--location", "b=redis://host"), "redis://host is no directory"),
            (("--data", "http://host"), "http://host is no directory"),
        ],
    )
    def test_what_cannot_be_is_refused(self, options: tuple[str, ...], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            kept_in(parsed(*options))

    def test_a_certificate_of_its_own_needs_a_directory(self) -> None:
        with (
            pytest.raises(UsageError, match="--tls-cert"),
            tls_files(parsed("--location", "a=one", "--tls-self"), None),
        ):
            pass


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("a/directory", "a/directory"),
        (":memory:", ":memory:"),
        ("postgres://host/db", "postgres://host/db"),
        ("postgres://me@a:1,b:2/db?sslmode=require", "postgres://me@a:1,b:2/db?sslmode=require"),
        ("postgres://me:secret@a:1,b:2/db", "postgres://me:***@a:1,b:2/db"),
        ("postgres://me:sec@ret@host/db", "postgres://me:***@host/db"),
        ("postgres://host/db?user=me&password=secret&x=1", "postgres://host/db?user=me&password=***&x=1"),
        ("postgres://host/db?sslpassword=secret", "postgres://host/db?sslpassword=***"),
        ("postgres://host/db?password=se@cr#et&a=b", "postgres://host/db?password=***&a=b"),
        ("postgres://me:se/cret@host/db", "postgres://me:***@host/db"),
        ("postgres://me:se?c#r@et@host/db", "postgres://me:***@host/db"),
        ("postgres://me:se[cret@host/db", "postgres://me:***@host/db"),
    ],
)
def test_no_password_is_shown(where: str, text: str) -> None:
    assert shown(where) == text


def test_a_location_without_a_name_shows_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--location", "postgres://me:secret@host/db?sslmode=require"]) == 2
    told = capsys.readouterr().err
    assert "NAME=URL" in told
    assert "secret" not in told


class TestLimits:
    def test_those_that_are_not_given_are_the_defaults(self) -> None:
        assert limits_of(parsed().limits) == DEFAULT_LIMITS

    @pytest.mark.parametrize(("option", "field", "kind"), LIMITS)
    def test_an_option_sets_its_field(self, option: str, field: str, kind: type) -> None:
        value = kind(2_000_000 if "bytes" in field else 7)
        assert limits_of(parsed(option, str(value)).limits) == ServerLimits(**{field: value})

    @pytest.mark.parametrize("text", ["-1", "1e300", "inf", "nan", "99999999999999999999999"])
    @pytest.mark.parametrize(("option", "field", "kind"), LIMITS)
    def test_what_no_layer_below_could_do_is_refused_by_name(
        self, option: str, field: str, kind: type, text: str
    ) -> None:
        if kind is int and not text.strip("-").isdecimal():
            return  # the parser itself refuses it
        with pytest.raises(UsageError, match=rf"^{option} must be from [0-9.,]+ to [0-9,]+, got "):
            limits_of(parsed(option, text).limits)


class TestCertificate:
    @pytest.fixture
    def files(self, tmp_path: Path) -> tuple[str, str]:
        certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
        for file, content in zip((certificate, key), make_certificate(("localhost",)), strict=True):
            file.write_bytes(content)
        return str(certificate), str(key)

    def test_a_pair_is_fine(self, files: tuple[str, str]) -> None:
        check_certificate(*files)

    def test_a_file_that_is_missing_is_named(self, files: tuple[str, str]) -> None:
        with pytest.raises(UsageError, match=r"cannot read /none .*--tls-cert"):
            check_certificate(files[0], "/none")

    def test_what_does_not_belong_together_is_refused(self, files: tuple[str, str], tmp_path: Path) -> None:
        other = tmp_path / "other.pem"
        other.write_bytes(make_certificate(("localhost",))[1])
        for pair in ((files[0], str(other)), (files[1], files[0]), (files[0], files[0])):
            with pytest.raises(UsageError, match="not a certificate chain and its private key"):
                check_certificate(*pair)

    def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(self, files: tuple[str, str]) -> None:
        key = serialization.load_pem_private_key(Path(files[1]).read_bytes(), None)
        Path(files[1]).write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"secret"),
            )
        )
        with pytest.raises(UsageError, match="wants a password"):
            check_certificate(*files)

    @pytest.mark.parametrize(
        ("options", "complaint"),
        [
            (("--tls-key", "key.pem"), "--tls-cert and --tls-key belong together"),
            (("--tls-self", "--tls-cert", "certificate.pem"), "give either --tls-self or"),
        ],
    )
    def test_options_that_do_not_go_together_are_refused(self, options: tuple[str, ...], complaint: str) -> None:
        with pytest.raises(UsageError, match=complaint), tls_files(parsed(*options), None):
            pass


def test_a_root_token_that_is_set_but_empty_opens_nothing(tmp_path: Path) -> None:
    """Somebody meant to have one: `PERDURE_ROOT_TOKEN=$SECRET`, and no secret was there."""
    assert root_token(None, None) is None
    with pytest.raises(UsageError, match="PERDURE_ROOT_TOKEN"):
        root_token(None, "")
    empty = tmp_path / "token"
    empty.write_text("\n")
    with pytest.raises(UsageError, match="token"):
        root_token(str(empty), None)
