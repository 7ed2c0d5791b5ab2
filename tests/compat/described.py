"""Where generated requests are aimed: at things that exist, and at reads that end.

A generator knows the description and nothing of the store, so nearly all that it makes up would be answered with 404.
Here its cases get names of basins, streams and tokens that are there, start points and bounds that go together, and a
form for what they read. Only what was generated as valid is replaced, and never all of it; what is wrong stays wrong.

One thing always holds: a read is told to end at the tail. A generated read may wait there for ever, which is what it is
for, and other tests are about that (`tests/server/test_sse.py`, `test_read_session.py`).
"""

from __future__ import annotations

import base64
import random
import time
import zlib
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import httpx
import schemathesis
from hypothesis import strategies as st
from schemathesis.core.parameters import ParameterLocation

from perdure.model.batches import AppendInput
from perdure.store.account import DEFAULT_LOCATION
from perdure.wire.protobuf import encode_append_input
from perdure.wire.s2s import encode_frame
from tests.compat.serving import ROOT_TOKEN
from tests.model.strategies import append_records

Case: TypeAlias = schemathesis.Case[Any]
"""One generated request; its parameter is a type of schemathesis that nothing here depends on."""

KEPT_BASIN: Final = "kept-basin"
"""Its streams have records, or get them."""
CLAY_BASIN: Final = "clay-basin"
"""What is reconfigured, with a stream of the same name."""
RECORDS: Final = "records"
EMPTY: Final = "empty"
SEALED: Final = "sealed"
CLAY: Final = "clay"
KEY: Final = base64.b64encode(bytes(32)).decode()

SECONDS: Final = 30.0
"""How long one answer may take; nothing that is asked for here waits."""

FORMS: Final[tuple[Mapping[str, str], ...]] = (
    {},
    {"accept": "application/json"},
    {"accept": "application/protobuf"},
    {"accept": "text/event-stream"},
    {"content-type": "s2s/proto"},
)
"""The forms of a read, which no parameter of the description chooses."""

_STARTS: Final[tuple[Mapping[str, int], ...]] = (
    {"seq_num": 0},
    {"seq_num": 7},
    {"timestamp": 0},
    {"tail_offset": 5},
    {"tail_offset": 0},
)

batches: Final = st.lists(append_records(), min_size=1, max_size=3).map(
    lambda records: encode_append_input(AppendInput.of(records))
)
schemathesis.openapi.media_type("application/protobuf", batches | st.binary(max_size=40))
schemathesis.openapi.media_type(
    "s2s/proto",
    st.lists(batches.map(encode_frame), max_size=3).map(b"".join) | st.binary(max_size=40),
)


class Aim:
    """A server with something on it, and how cases get there."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = httpx.Client(
            base_url=f"{url}/v1", headers={"authorization": f"Bearer {ROOT_TOKEN}"}, timeout=SECONDS
        )
        self._made = 0

    def close(self) -> None:
        self._http.close()

    def base_url(self, case: Case) -> str:
        """What the path of `case` is appended to."""
        return self._url if self.is_public(case) else f"{self._url}/v1"

    def is_public(self, case: Case) -> bool:
        """Whether it is about the server itself, beside the API, and so for everybody."""
        return "server" in case.operation.tags

    def furnish(self) -> None:
        """Make what cases are aimed at."""
        self._put(f"/basins/{KEPT_BASIN}", config={"create_stream_on_append": True, "create_stream_on_read": True})
        self._put(f"/basins/{CLAY_BASIN}", config={"stream_cipher": "aes-256-gcm"})
        for name in (RECORDS, EMPTY):
            self._put(f"/streams/{name}", basin=KEPT_BASIN)
        for name in (CLAY, SEALED):
            self._put(f"/streams/{name}", basin=CLAY_BASIN)
        for basin, name in ((KEPT_BASIN, RECORDS), (CLAY_BASIN, SEALED)):
            for number in range(20):
                answer = self._http.post(
                    f"/streams/{name}/records",
                    json={"records": [{"body": f"record {number}", "headers": [["number", str(number)]]}]},
                    headers={"s2-basin": basin, "s2-encryption-key": KEY},
                )
                assert answer.status_code == 200, answer.text

    def issue(self, token_id: str, **scope: object) -> str:
        """A token's secret."""
        answer = self._http.post("/access-tokens", json={"id": token_id, "scope": scope})
        assert answer.status_code == 201, answer.text
        secret: str = answer.json()["access_token"]
        return secret

    def take(self, case: Case) -> None:
        """Change `case` as the module says. What is chosen depends on the case alone, so that it can be repeated."""
        dice = dice_of(case)
        wrong = {location for location in ParameterLocation if case.meta and case.meta.is_negative_at(location)}
        if ParameterLocation.PATH not in wrong and case.path_parameters and dice.random() < 0.8:
            case.path_parameters.update(self._names(case, dice))
        if ParameterLocation.HEADER not in wrong:
            self._take_headers(case, dice)
        if ParameterLocation.QUERY not in wrong and dice.random() < 0.8:
            _take_query(case, dice)
        if ParameterLocation.BODY not in wrong and dice.random() < 0.8:
            if isinstance(case.body, dict):
                _take_body(case.path, case.body)
            elif case.path == "/locations/default":
                case.body = DEFAULT_LOCATION
        if case.method in ("POST", "PUT", "PATCH") and dice.random() < 0.1:
            case.headers["content-encoding"] = dice.choice(("identity", "gzip", "zstd", "br"))
        if case.path.endswith("/records"):
            case.headers.update(dice.choice(FORMS) if case.method == "GET" else dice.choice(FORMS[:3]))
            if case.method == "GET":
                _bound(case)

    def _names(self, case: Case, dice: random.Random) -> dict[str, str]:
        names: dict[str, str] = {}
        if "basin" in case.path_parameters:
            match case.method:
                case "DELETE":
                    names["basin"] = self._new_basin()
                case "PUT" | "PATCH":
                    names["basin"] = CLAY_BASIN
                case _:
                    names["basin"] = dice.choice((KEPT_BASIN, CLAY_BASIN))
        if "stream" in case.path_parameters:
            match case.method:
                case "DELETE":
                    names["stream"] = self._new_stream()
                case "PUT" | "PATCH":
                    names["stream"] = CLAY
                case _:
                    names["stream"] = dice.choice((RECORDS, RECORDS, EMPTY, SEALED))
        if "id" in case.path_parameters:
            names["id"] = self._new_token()
        return names

    def _take_headers(self, case: Case, dice: random.Random) -> None:
        if "{stream}" in case.path or case.path == "/streams":
            stream = case.path_parameters.get("stream") if case.path_parameters else None
            if dice.random() < 0.9:
                case.headers["s2-basin"] = CLAY_BASIN if stream in (CLAY, SEALED) else KEPT_BASIN
        if case.path.endswith("/records"):
            if dice.random() < 0.8:
                case.headers["s2-encryption-key"] = KEY
            if dice.random() < 0.5:
                case.headers.pop("s2-format", None)

    # What is used up by what is asked ----------------------------------------------------------------

    def _new_basin(self) -> str:
        name = f"doomed-{self._number()}"
        self._put(f"/basins/{name}")
        return name

    def _new_stream(self) -> str:
        name = f"doomed-{self._number()}"
        self._put(f"/streams/{name}", basin=KEPT_BASIN)
        return name

    def _new_token(self) -> str:
        name = f"doomed-{self._number()}"
        self.issue(name, ops=["read"], streams={"prefix": ""})
        return name

    def _number(self) -> int:
        self._made += 1
        return self._made

    def _put(self, path: str, *, basin: str | None = None, config: object = None) -> None:
        answer = self._http.put(
            path,
            json=None if config is None else {"config": config},
            headers={} if basin is None else {"s2-basin": basin},
        )
        assert answer.status_code in (200, 201), answer.text


def _take_query(case: Case, dice: random.Random) -> None:
    """Parameters that go together."""
    if case.path.startswith("/metrics"):
        case.query["end"] = int(time.time())
        case.query["start"] = case.query["end"] - dice.choice((0, 60, 7200, 86_400))
        case.query.pop("interval", None)
    elif case.path.endswith("/records"):
        for name in ("seq_num", "timestamp", "tail_offset", "until", "wait"):
            case.query.pop(name, None)
        case.query.update(dice.choice(_STARTS))


def _take_body(path: str, body: dict[str, Any]) -> None:
    """Conditions that hold, and a scope that permits something."""
    if path.endswith("/records"):
        body.pop("match_seq_num", None)
        body.pop("fencing_token", None)
    if path == "/access-tokens":
        body["scope"] = {"basins": {"prefix": "kept"}, "ops": ["read"]}
        body.pop("auto_prefix_streams", None)


def _bound(case: Case) -> None:
    """Let a read end at the tail, unless its `wait` is one that the server must refuse."""
    wait = case.query.get("wait", 0)
    while isinstance(wait, list) and len(wait) == 1:
        wait = wait[0]
    if str(wait).isdigit():
        case.query["wait"] = 0


def dice_of(case: Case) -> random.Random:
    """What decides about `case`, the same way each time it is tried."""
    parts = (case.path_parameters, sorted(case.headers.items()), case.query, case.media_type, case.body)
    return random.Random(zlib.crc32(repr(parts).encode(errors="replace")))
