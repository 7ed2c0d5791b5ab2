"""Content negotiation (store API, sections 2.6 to 2.8 and 6.9)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import BadRequest
from perdure.wire import media
from perdure.wire.compression import Compression
from perdure.wire.media import Format, Media


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (None, Media.ABSENT),
        (b"", Media.ABSENT),
        (b"json", Media.ABSENT),
        (b"application/", Media.ABSENT),
        (b"applic ation/json", Media.ABSENT),
        (b", application/json", Media.ABSENT),
        (b"application/json", Media.JSON),
        (b"Application/JSON; charset=utf-8", Media.JSON),
        (b" application/json ;q=0.1, text/event-stream", Media.JSON),
        (b"application/problem+json", Media.JSON),
        (b"application/vnd.x.y+json;v=2", Media.JSON),
        (b"application/+json", Media.OTHER),
        (b"text/json", Media.OTHER),
        (b"text/x+json", Media.OTHER),
        (b"application/protobuf", Media.PROTOBUF),
        (b"application/x-protobuf", Media.PROTOBUF),
        (b"application/x-protobuf, */*", Media.PROTOBUF),
        (b"*/*, application/protobuf", Media.OTHER),
        (b"text/event-stream", Media.EVENT_STREAM),
        (b"TEXT/event-stream, application/json", Media.EVENT_STREAM),
        (b"s2s/proto", Media.S2S),
        (b"s2s/proto; v=1", Media.S2S),
        (b"s2s/protobuf", Media.OTHER),
    ],
)
def test_only_the_first_media_type_counts(value: bytes | None, meaning: Media) -> None:
    assert media.media_of(value) is meaning


@pytest.mark.parametrize(
    ("content_type", "accept", "kind"),
    [
        (None, None, Media.JSON),
        (b"s2s/proto", None, Media.S2S),
        (b"s2s/proto", b"text/event-stream", Media.S2S),
        (b"application/json", b"text/event-stream", Media.EVENT_STREAM),
        (b"application/protobuf", None, Media.JSON),
        (None, b"application/x-protobuf", Media.PROTOBUF),
        (None, b"*/*, text/event-stream", Media.JSON),
        (None, b"s2s/proto", Media.JSON),
    ],
)
def test_how_a_read_is_answered(content_type: bytes | None, accept: bytes | None, kind: Media) -> None:
    assert media.read_kind(content_type, accept) is kind


def test_how_an_append_comes_and_is_answered() -> None:
    assert media.append_kind(b"s2s/proto") is Media.S2S
    assert media.append_kind(b"application/x-protobuf") is Media.PROTOBUF
    assert media.append_kind(b"application/json") is Media.JSON
    assert media.append_kind(None) is media.append_kind(b"text/event-stream") is Media.JSON
    assert media.ack_kind(b"application/protobuf") is Media.PROTOBUF
    assert media.ack_kind(b"text/event-stream") is media.ack_kind(None) is Media.JSON


@pytest.mark.parametrize("content_type", [None, b"", b"text/plain", b"application/protobuf"])
def test_a_json_body_must_be_called_so(content_type: bytes | None) -> None:
    media.require_json(b"application/merge-patch+json; charset=utf-8")
    with pytest.raises(BadRequest, match="Expected request with `Content-Type: application/json`") as caught:
        media.require_json(content_type)
    assert caught.value.code == "bad_json"


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (None, Format.RAW),
        (b"raw", Format.RAW),
        (b"json", Format.RAW),
        (b" base64\t", Format.BASE64),
        (b"json-binsafe", Format.BASE64),
    ],
)
def test_formats(value: bytes | None, form: Format) -> None:
    assert media.parse_format(value) is form


@given(st.just(b"") | st.just(b"hex") | st.just(b"RAW") | st.binary(max_size=9))
def test_another_format_is_a_bad_header(value: bytes) -> None:
    if value.strip(b" \t") in (b"raw", b"json", b"base64"):
        return
    with pytest.raises(BadRequest, match="s2-format") as caught:
        media.parse_format(value)
    assert caught.value.code == "bad_header"


@pytest.mark.parametrize(
    ("accepted", "session", "response"),
    [
        (None, Compression.NONE, Compression.NONE),
        (b"", Compression.NONE, Compression.NONE),
        (b"gzip", Compression.GZIP, Compression.GZIP),
        (b"gzip, deflate, br, zstd", Compression.ZSTD, Compression.ZSTD),
        (b"GZIP , ZStd", Compression.ZSTD, Compression.ZSTD),
        (b"deflate, br", Compression.NONE, Compression.NONE),
        (b"gzip;q=1.0, zstd; q=0.5", Compression.ZSTD, Compression.GZIP),
        (b"gzip;q=0.5, zstd;q=0.5", Compression.ZSTD, Compression.ZSTD),
        (b"zstd;q=0, gzip", Compression.ZSTD, Compression.GZIP),
        (b"zstd;q=0", Compression.ZSTD, Compression.NONE),
        (b"gzip;q=0.2, identity;q=0.9", Compression.GZIP, Compression.NONE),
        (b"identity, gzip", Compression.GZIP, Compression.GZIP),
        (b"gzip;q=nonsense", Compression.GZIP, Compression.NONE),
        (b"*", Compression.NONE, Compression.NONE),
        (b",,;q=1, gzip", Compression.GZIP, Compression.GZIP),
    ],
)
def test_codings(accepted: bytes | None, session: Compression, response: Compression) -> None:
    assert media.session_coding(accepted) is session
    assert media.response_coding(accepted) is response


@given(st.binary(max_size=30))
def test_any_value_gives_a_decision(value: bytes) -> None:
    media.read_kind(value, value)
    media.session_coding(value)
    media.response_coding(value)
