"""The served description is true: requests made from it get no answer that it does not tell of, and no 500.

schemathesis makes the requests, right and wrong ones, and holds each answer against the description: its status, media
type, header fields and body. Its generator draws nothing at random here, so every run makes the same requests. It
speaks HTTP/1.1; what goes over HTTP/2 is for the tests with other people's clients.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from perdure.server.openapi import DESCRIPTION
from perdure.wire.media import Media, media_of
from perdure.wire.protobuf import decode_append_ack, decode_read_batch
from perdure.wire.s2s import FrameDecoder
from tests.compat.described import KEPT_BASIN, SECONDS, Aim, Case, dice_of
from tests.compat.serving import ROOT_TOKEN, serve

DOCUMENT: Final = json.loads(DESCRIPTION)
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def api(*, boundaries: bool) -> schemathesis.BaseSchema:
    """The description, as what requests are generated from: with or without each boundary of each parameter."""
    schema = schemathesis.openapi.from_dict(json.loads(DESCRIPTION))
    # Who asks is for each test to say.
    schema.config.generation.update(with_security_parameters=False, deterministic=True)
    schema.config.phases.coverage.enabled = boundaries
    return schema


def generated(examples: int) -> settings:
    return settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )


@pytest.fixture(scope="module")
def aim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aim]:
    """A server that serves the description which the requests are made from, with something on it."""
    with serve(tmp_path_factory.mktemp("description") / "data") as server:
        assert httpx.get(f"{server.url}/openapi.json").content == DESCRIPTION
        aim = Aim(server.url)
        try:
            aim.furnish()
            yield aim
        finally:
            aim.close()


class Tally:
    """What one operation answered: how often each status, and in which form."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.wanted: set[tuple[str, str]] = set()
        self.label = ""

    def add(self, case: Case, answer: Response) -> None:
        self.counts[str(answer.status_code), "" if case.method == "HEAD" else content_type(answer)] += 1
        responses = responses_of(case)
        if responses is not None:
            self.label = case.operation.label
            self.wanted = {
                (status, form)
                for status, described in responses.items()
                if status.startswith("2")
                for form in described.get("content") or ("",)
            }


@pytest.fixture
def tally() -> Iterator[Tally]:
    """Every form of every success that is described must have been among the answers."""
    tally = Tally()
    yield tally
    print(tally.label, {" ".join(key).strip(): count for key, count in sorted(tally.counts.items())})
    assert tally.wanted <= tally.counts.keys(), sorted(tally.wanted - tally.counts.keys())


def responses_of(case: Case) -> dict[str, Any] | None:
    """What the description says about answers to `case`; None for a method that its path does not have."""
    operation = DOCUMENT["paths"][case.path].get(case.method.lower())
    return None if operation is None else operation["responses"]


def content_type(answer: Response) -> str:
    return answer.headers.get("content-type", [""])[0].partition(";")[0]


def asked(case: Case, aim: Aim, authorization: str | None) -> Response:
    """The answer to `case`, which the description must tell of."""
    case.headers.pop("authorization", None)
    if authorization is not None:
        case.headers["authorization"] = authorization
    answer = case.call(base_url=aim.base_url(case), timeout=SECONDS)
    case.validate_response(answer, checks=CHECKS)
    described = (responses_of(case) or {}).get(str(answer.status_code))
    if described is not None and "content" not in described:
        assert answer.content == b""
    check_binary(case, answer)
    return answer


def check_binary(case: Case, answer: Response) -> None:
    """Read what schemathesis does not: protobuf, and frames, the last of which may be an error that is described."""
    decode = decode_append_ack if case.method == "POST" else decode_read_batch
    match media_of(content_type(answer).encode()):
        case Media.PROTOBUF:
            decode(answer.content)
        case Media.S2S:
            decoder = FrameDecoder()
            frames = list(decoder.feed(answer.content))
            decoder.finish()
            for frame in frames:
                if frame.is_terminal:
                    assert frame is frames[-1]
                    status, body = frame.terminal().status, json.loads(frame.terminal().body)
                    assert str(status) in (responses_of(case) or {})
                    assert status < 500
                    assert body.keys() in (
                        {"code", "message"},
                        {"tail"},
                        {"seq_num_mismatch"},
                        {"fencing_token_mismatch"},
                    )
                else:
                    decode(frame.message())
        case Media.EVENT_STREAM:
            assert answer.content.endswith(b"data: [DONE]\n\n")
        case _:
            pass


ALL: Final = api(boundaries=True)
SOME: Final = api(boundaries=False)


@ALL.parametrize()
@generated(100)
@pytest.mark.timeout(300)
def test_every_answer_is_described_and_every_success_reached(case: Case, aim: Aim, tally: Tally) -> None:
    aim.take(case)
    tally.add(case, asked(case, aim, f"Bearer {ROOT_TOKEN}"))


@SOME.parametrize()
@generated(20)
def test_without_a_valid_token_nothing_but_public_pages_is_answered(case: Case, aim: Aim) -> None:
    aim.take(case)
    answer = asked(
        case, aim, dice_of(case).choice((None, "", "Bearer", "Bearer x", "Basic eDp5", f"Bearer {ROOT_TOKEN}x"))
    )
    assert answer.status_code in ((200, 404) if aim.is_public(case) else (401,))


@SOME.parametrize()
@generated(30)
def test_a_narrow_token_gets_described_answers_too(case: Case, aim: Aim, narrow: str) -> None:
    aim.take(case)
    asked(case, aim, f"Bearer {narrow}")


@pytest.fixture(scope="module")
def narrow(aim: Aim) -> str:
    """A token for some operations in one basin."""
    return aim.issue(
        "narrow",
        basins={"exact": KEPT_BASIN},
        streams={"prefix": "rec"},
        ops=["list-basins", "list-streams", "get-stream-config", "check-tail", "read", "append", "stream-metrics"],
    )


@ALL.parametrize()
@generated(500)
@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_answer_is_described_in_the_long_run(case: Case, aim: Aim, tally: Tally) -> None:
    aim.take(case)
    tally.add(case, asked(case, aim, f"Bearer {ROOT_TOKEN}"))
