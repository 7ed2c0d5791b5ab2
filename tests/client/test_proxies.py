"""HTTP proxies: which one is on the way, and how requests get through it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import S2, TransportError, UsageError
from perdure.client.endpoints import Origin
from perdure.client.proxies import DIRECT, Proxies, Proxy, covers
from perdure.client.retries import RetryPolicy
from perdure.client.settings import ForcedTransport
from perdure.server.self_signed import make_certificate
from perdure.server.serving import TlsFiles
from perdure.store.engine import Engine
from tests.client.http_server import HOST, serving_engine
from tests.client.middlemen import HttpProxy, http_proxy
from tests.client.test_fallback import BASIN, use
from tests.store.stores import Kind, Store, opened

STORE = Origin("https", "store.example", 443)
PLAIN = Origin("http", "store.example", 80)
VARIABLES = [f"{scheme}_proxy" for scheme in ("http", "https", "all", "no")]


def proxy_of(origin: Origin, **environment: str) -> str | None:
    found = Proxies(None, environment).of(origin)
    return None if found is None else str(found)


class TestWhichOne:
    def test_by_the_scheme_of_the_server(self) -> None:
        assert proxy_of(STORE, https_proxy="http://a:1", http_proxy="http://b:2") == "a:1"
        assert proxy_of(PLAIN, HTTPS_PROXY="http://a:1", HTTP_PROXY="http://b:2") == "b:2"
        assert proxy_of(STORE, http_proxy="http://b:2") is None
        assert proxy_of(STORE, ALL_PROXY="c:3") == "c:3"
        assert proxy_of(STORE, HTTPS_PROXY="http://A", https_proxy="b") == "b:80"
        assert proxy_of(STORE) is None

    def test_a_header_of_a_web_request_names_no_proxy(self) -> None:
        assert proxy_of(PLAIN, HTTP_PROXY="evil:1", REQUEST_METHOD="GET") is None
        assert proxy_of(PLAIN, http_proxy="good:1", REQUEST_METHOD="GET") == "good:1"

    def test_what_the_caller_says_goes_first(self) -> None:
        environment = {"https_proxy": "a:1", "no_proxy": "*"}
        assert str(Proxies("b:2", environment).of(STORE)) == "b:2"
        assert Proxies(DIRECT, {"https_proxy": "a:1"}).of(STORE) is None
        assert str(Proxies("b:2", {}).of(Origin("http", "localhost", 80))) == "b:2"

    @pytest.mark.parametrize("host", ["localhost", "b.localhost", "127.0.0.1", "127.9.9.9", "::1"])
    def test_none_leads_to_this_machine(self, host: str) -> None:
        assert proxy_of(Origin("http", host, 80), http_proxy="a:1") is None

    @pytest.mark.parametrize(
        ("entry", "host", "port", "expected"),
        [
            ("*", "any.example", 1, True),
            ("store.example", "store.example", 443, True),
            ("store.example", "STORE.example.", 443, True),
            ("example", "store.example", 443, True),
            (".example", "store.example", 443, True),
            ("*.example", "store.example", 443, True),
            ("ample", "store.example", 443, False),
            ("store.example", "other.example", 443, False),
            ("store.example:443", "store.example", 443, True),
            ("store.example:80", "store.example", 443, False),
            ("10.0.0.0/8", "10.1.2.3", 443, True),
            ("10.0.0.0/8", "11.1.2.3", 443, False),
            ("10.1.2.3", "10.1.2.3", 443, True),
            ("10.0.0.0/8", "store.example", 443, False),
            ("::1", "::1", 443, True),
            ("[fd00::1]:80", "fd00::1", 80, True),
            ("[fd00::1]:80", "fd00::1", 443, False),
            ("fd00::/8", "fd12::1", 443, True),
        ],
    )
    def test_who_needs_none(self, entry: str, host: str, port: int, expected: bool) -> None:
        assert covers(entry, host, port) is expected

    def test_a_list_of_those_who_need_none(self) -> None:
        assert proxy_of(STORE, https_proxy="a:1", NO_PROXY="other.example, .example ,") is None
        assert proxy_of(STORE, https_proxy="a:1", no_proxy="other.example,, ") == "a:1"

    @given(
        entry=st.text(st.sampled_from("ab.*:[]/01 -"), max_size=8), host=st.text(st.sampled_from("ab.:01"), max_size=6)
    )
    def test_no_entry_breaks_it(self, entry: str, host: str) -> None:
        covers(entry, host, 80)

    @pytest.mark.parametrize(
        "given", ["socks5://secret@a:1", "http://", "http://secret@[", "http://secret@a:b", "https://a"]
    )
    def test_what_is_no_proxy_of_ours(self, given: str) -> None:
        with pytest.raises(UsageError, match="proxy") as caught:
            _ = S2(endpoints="http://store.example", proxy=given)
        assert "secret" not in str(caught.value)

    def test_one_that_is_not_needed_may_be_whatever_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("all_proxy", "socks5://a:1")
        monkeypatch.setenv("no_proxy", "store.example")
        for url in ("http://127.0.0.1:3458", "https://store.example"):
            _ = S2(endpoints=url)
        _ = S2(endpoints="http://other.example", proxy=DIRECT)
        with pytest.raises(UsageError, match="all_proxy names a proxy of the kind 'socks5'"):
            _ = S2(endpoints="http://other.example")

    def test_credentials_show_nowhere(self) -> None:
        proxy = Proxy.parse("http://user:p%40ss@a:1", "test")
        assert proxy.credentials == b"Basic dXNlcjpwQHNz"
        assert repr(proxy) == "<Proxy a:1>"


@pytest.fixture
def kind() -> Kind:
    return "memory"


@pytest.fixture
async def engine(store: Store) -> AsyncIterator[Engine]:
    async with opened(store) as engine:
        yield engine


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def client(url: str, force: ForcedTransport | None, proxy: str | None, tls: ssl.SSLContext | None = None) -> S2:
    once = RetryPolicy(max_attempts=1)
    return S2(endpoints=url, retries=once, force_transport=force, proxy=proxy, ssl_context=tls)


class TestThroughOne:
    @pytest.fixture
    async def proxy(self, engine: Engine) -> AsyncIterator[HttpProxy]:
        async with (
            serving_engine(engine) as port,
            http_proxy({"store.example": port, "store.example:80": port}) as proxy,
        ):
            yield proxy

    async def test_requests_in_clear_text_are_passed_on(self, proxy: HttpProxy) -> None:
        async with client("http://store.example", None, f"http://{HOST}:{proxy.port}") as s2:
            await use(s2)
        assert ("POST", "http://store.example/v1/basins") in proxy.requests
        assert "CONNECT" not in dict(proxy.requests)

    async def test_http2_in_clear_text_goes_through_a_tunnel(self, proxy: HttpProxy) -> None:
        async with client("http://store.example", "s2s", f"http://{HOST}:{proxy.port}") as s2:
            await use(s2)
        assert proxy.requests == [("CONNECT", "store.example:80")]

    async def test_from_the_environment(self, proxy: HttpProxy, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", f"{HOST}:{proxy.port}")
        async with client("http://store.example", None, None) as s2:
            await use(s2)
        assert proxy.requests

    @pytest.mark.parametrize("force", [None, "s2s", "fetch"])
    async def test_tls_goes_through_a_tunnel(
        self, engine: Engine, tmp_path: Path, force: ForcedTransport | None
    ) -> None:
        files = TlsFiles(certificate=tmp_path / "certificate.pem", key=tmp_path / "key.pem")
        certificate, key = make_certificate(("store.example",))
        files.certificate.write_bytes(certificate)
        files.key.write_bytes(key)
        trusting = ssl.create_default_context(cadata=certificate.decode())
        async with (
            serving_engine(engine, tls=files) as port,
            http_proxy({"store.example:443": port}) as proxy,
            client("https://store.example", force, f"http://{HOST}:{proxy.port}", trusting) as s2,
        ):
            await use(s2)
        assert set(proxy.requests) == {("CONNECT", "store.example:443")}

    @pytest.mark.parametrize("scheme", ["http", "https"])
    async def test_one_that_leads_nowhere(self, proxy: HttpProxy, scheme: str) -> None:
        async with client(f"{scheme}://elsewhere.example", "s2s", f"http://{HOST}:{proxy.port}") as s2:
            with pytest.raises(TransportError, match=f"by way of the proxy {HOST}:.* status 502") as caught:
                await s2.basins.get_config(BASIN)
        assert caught.value.has_no_side_effects

    async def test_one_that_knows_its_users(self, engine: Engine) -> None:
        async with serving_engine(engine) as port, http_proxy({"store.example:80": port}, "me:secret") as proxy:
            for given in (f"{HOST}:{proxy.port}", f"http://me:wrong-secret@{HOST}:{proxy.port}"):
                async with client("http://store.example", "s2s", given) as s2:
                    with pytest.raises(TransportError, match="wants to know who asks") as caught:
                        await s2.basins.get_config(BASIN)
                    assert "secret" not in str(caught.value)
            async with client("http://store.example", "s2s", f"http://me:secret@{HOST}:{proxy.port}") as s2:
                await use(s2)

    async def test_nobody_is_there(self) -> None:
        async with client("https://store.example", None, f"http://{HOST}:1") as s2:
            with pytest.raises(TransportError, match=r"cannot connect .* by way of the proxy"):
                await s2.basins.get_config(BASIN)
