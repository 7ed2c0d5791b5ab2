"""Addresses and the environment (store API, section 10.1)."""

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from inspect import signature

import pytest

from perdure import S2, Compression, UsageError
from perdure.client.endpoints import Endpoints, Origin
from perdure.client.settings import HttpSettings


class TestEndpoints:
    def test_the_cloud_is_the_default(self) -> None:
        endpoints = Endpoints()
        assert endpoints.account_origin == Origin("https", "a.s2.dev", 443)
        assert endpoints.basin_origin("my-basin") == Origin("https", "my-basin.b.s2.dev", 443)
        assert endpoints.basin_is_in_host

    @pytest.mark.parametrize(
        ("text", "origin"),
        [
            ("example.org", Origin("https", "example.org", 443)),
            ("example.org:8443", Origin("https", "example.org", 8443)),
            ("http://localhost", Origin("http", "localhost", 80)),
            ("http://localhost:8080/", Origin("http", "localhost", 8080)),
            ("http://localhost:8080/v1", Origin("http", "localhost", 8080)),
            (" https://[::1]:9000 ", Origin("https", "::1", 9000)),
        ],
    )
    def test_one_server_for_everything(self, text: str, origin: Origin) -> None:
        endpoints = Endpoints.of(text)
        assert endpoints.account_origin == endpoints.basin_origin("my-basin") == origin
        assert not endpoints.basin_is_in_host

    @pytest.mark.parametrize(
        ("origin", "authority"),
        [
            (Origin("https", "a.s2.dev", 443), "a.s2.dev"),
            (Origin("http", "a.s2.dev", 443), "a.s2.dev:443"),
            (Origin("http", "::1", 80), "[::1]"),
        ],
    )
    def test_how_an_origin_stands_in_a_request(self, origin: Origin, authority: str) -> None:
        assert origin.authority == authority

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "ftp://x",
            "http://",
            "http://x:port",
            "http://x/other",
            "http://x?a=b",
            "http://x#a",
            "http://u:p@x",
            "a b",
        ],
    )
    def test_what_is_no_address_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError):
            Endpoints.of(text)

    @pytest.mark.parametrize("address", ["https://a.s2.dev", "a.s2.dev", "https://a.s2.dev/v1/"])
    def test_the_address_of_the_cloud_means_its_basins_hosts_as_well(self, address: str) -> None:
        assert Endpoints.of(address) == Endpoints()
        with pytest.raises(UsageError, match="access token"):
            HttpSettings(endpoints=Endpoints(address, address))

    def test_basins_of_the_cloud_are_the_cloud_too(self) -> None:
        with pytest.raises(UsageError, match="access token"):
            HttpSettings(endpoints=Endpoints("https://x", "{basin}.b.s2.dev"))

    def test_the_account_has_no_basin(self) -> None:
        with pytest.raises(UsageError, match="names no basin"):
            Endpoints("https://{basin}.example.org", "https://{basin}.example.org")

    def test_both_use_the_same_scheme(self) -> None:
        with pytest.raises(UsageError, match="both"):
            Endpoints("http://example.org", "https://{basin}.example.org")


class TestEnvironment:
    def test_both_addresses_or_neither(self) -> None:
        assert Endpoints.from_env({}) == Endpoints()
        both = {"S2_ACCOUNT_ENDPOINT": "http://x", "S2_BASIN_ENDPOINT": "http://y"}
        assert Endpoints.from_env(both) == Endpoints("http://x", "http://y")
        for name in both:
            with pytest.raises(UsageError, match=f"{name} is set"):
                Endpoints.from_env({name: "http://x"})

    def test_the_environment_is_that_of_this_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("S2_ACCOUNT_ENDPOINT", "S2_BASIN_ENDPOINT"):
            monkeypatch.setenv(name, "http://x")
        monkeypatch.setenv("S2_ACCESS_TOKEN", "any")
        assert Endpoints.from_env() == Endpoints("http://x", "http://x")
        assert repr(S2.from_env()) == "<S2 http://x>"

    def test_the_other_options_can_be_given_as_well(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("S2_ACCESS_TOKEN", "any")
        told = {name for name in signature(S2).parameters if name not in {"access_token", "endpoints", "transport"}}
        assert set(signature(S2.from_env).parameters) == told
        with pytest.raises(UsageError, match="force_transport"):
            _ = S2.from_env(force_transport="sse")  # type: ignore[arg-type]

    def test_a_token_is_needed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("S2_ACCESS_TOKEN", raising=False)
        with pytest.raises(UsageError, match="S2_ACCESS_TOKEN"):
            _ = S2.from_env()


class TestSettings:
    def test_the_cloud_needs_a_token(self) -> None:
        with pytest.raises(UsageError, match="access token"):
            HttpSettings()

    @pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "pässword"])
    def test_a_token_that_is_none_is_refused_and_not_repeated(self, token: str) -> None:
        with pytest.raises(UsageError) as caught:
            HttpSettings(access_token=token)
        assert not token or token not in str(caught.value)

    def test_zstd_needs_its_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "zstandard", None)
        with ThreadPoolExecutor(1) as fresh:  # a thread that has not loaded it yet
            made = fresh.submit(HttpSettings, endpoints="http://x", compression=Compression.ZSTD)
            with pytest.raises(UsageError, match="zstandard"):
                made.result()

    def test_the_token_does_not_show(self) -> None:
        settings = HttpSettings(access_token="very-secret")
        assert "very-secret" not in f"{settings!r} {settings}"

    @pytest.mark.parametrize(
        "wrong",
        [
            {"access_token": b"bytes"},
            {"endpoints": {"account": "http://x"}},
            {"retries": 3},
            {"compression": "gzip"},
            {"compression": None},
            {"request_timeout": None},
            {"request_timeout": timedelta(seconds=5)},
            {"connection_timeout": "3"},
            {"ssl_context": False},
            {"force_transport": "sse"},
        ],
    )
    def test_an_option_of_the_wrong_kind_is_refused_at_once_by_its_name(self, wrong: dict[str, object]) -> None:
        with pytest.raises(UsageError, match=next(iter(wrong))):
            _ = S2(**({"endpoints": "http://x"} | wrong))  # type: ignore[arg-type]

    @pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
    def test_time_outs_are_positive(self, seconds: float) -> None:
        for name in ("request_timeout", "connection_timeout"):
            with pytest.raises(UsageError, match=name):
                HttpSettings(endpoints="http://x", **{name: seconds})  # type: ignore[arg-type]
