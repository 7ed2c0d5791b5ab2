"""The JSON of record bodies: one line, readable by every browser, equal to what was given."""

import json
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from types import MappingProxyType

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.errors import PerdureError
from perdure.resumable.json_body import (
    MAX_DEPTH,
    JsonValue,
    SourceError,
    encode_body,
    encode_record,
    parse_body,
    parse_object,
)

ANY_TEXT = st.text(st.characters())  # lone surrogates, separators and control characters included
JSON_VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**40), max_value=10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=15,
)


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Real(float):
    pass


class Weather(pydantic.BaseModel):
    degrees_celsius: float = pydantic.Field(alias="degreesCelsius")
    note: str | None = None


@dataclass
class Point:
    x: int
    y: int


def paired(value: JsonValue) -> JsonValue:
    """`value` with surrogate halves that stand side by side joined, as any reader of their escapes joins them."""
    match value:
        case str():
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        case list():
            return [paired(item) for item in value]
        case dict():
            return {str(paired(key)): paired(item) for key, item in value.items()}
        case _:
            return value


@settings(deadline=None)
@given(JSON_VALUES)
def test_bodies_parse_back_and_stay_on_one_line(value: JsonValue) -> None:
    body = encode_body(value)
    assert not set(body) & set(b"\r\n")
    body.decode()  # always UTF-8
    assert paired(parse_body(body)) == paired(value)
    assert paired(json.loads(body)) == paired(value)


def test_acceptance_vector_20() -> None:
    body = encode_body({"a": float("nan"), "s": "x\u2028y", "n": None})
    assert body == b'{"a":null,"s":"x\xe2\x80\xa8y","n":null}'


@pytest.mark.parametrize("text", ["\ud800", "é\udfff"])
def test_text_with_a_lone_surrogate_is_escaped_throughout(text: str) -> None:
    body = encode_body({"type": "text-delta", "delta": text, "other": "ü", "nan": [float("nan")], "n": 2**70})
    assert body.isascii()
    assert parse_body(body) == {"type": "text-delta", "delta": text, "other": "ü", "nan": [None], "n": 2**70}
    assert b" " not in body


def test_acceptance_vector_20_lone_surrogate() -> None:
    assert encode_body({"s": "\ud800"}) == b'{"s":"\\ud800"}'


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ([float("inf"), float("-inf"), Real("nan")], b"[null,null,null]"),
        (2**53 + 1, b"9007199254740993"),
        (-(2**80), b"-1208925819614629174706176"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), b'"2026-01-02T03:04:05Z"'),
        (datetime(2026, 1, 2, 3, 4, 5), b'"2026-01-02T03:04:05"'),
        (b"\x00\xff", b'"AP8="'),
        (Decimal("1.50"), b'"1.50"'),
        (uuid.UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
        ([Colour.RED, Level.HIGH], b'["red",3]'),
        (({1}, frozenset((2,)), (3,)), b"[[1],[2],[3]]"),
        ([Text("a"), Whole(1), Real(1.5)], b'["a",1,1.5]'),
        ({1: "a", 2.5: "b", Colour.RED: "c", Text("d"): "e"}, b'{"1":"a","2.5":"b","red":"c","d":"e"}'),
        (MappingProxyType({"b": 1, "a": OrderedDict(z=1, y=2)}), b'{"b":1,"a":{"z":1,"y":2}}'),
        ({"data": Weather(degreesCelsius=21.5)}, b'{"data":{"degreesCelsius":21.5}}'),
        ({"data": Point(1, 2)}, b'{"data":{"x":1,"y":2}}'),
        ("a\r\nb\x00\x7f\x85\u2029", b'"a\\r\\nb\\u0000\x7f\xc2\x85\xe2\x80\xa9"'),
        pytest.param({"raw": msgspec.Raw(b'{"a":\n 1}')}, b'{"raw":{"a":1}}', id="raw"),
    ],
    ids=repr,
)
def test_values_have_the_json_that_readers_expect(value: object, body: bytes) -> None:
    assert encode_body(value) == body
    with_surrogate = encode_body(["\ud800", value])
    assert parse_body(with_surrogate) == ["\ud800", parse_body(body)], "both ways of encoding agree"


def nested(depth: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"a": object()}, "builtins.object"),
        ({"a": 1j}, "builtins.complex"),
        ({"a": Weather}, "ModelMetaclass"),
        ({None: 1}, "None cannot be a key"),
        ({True: 1}, "True cannot be a key"),
        ({(1, 2): 1}, "builtins.tuple"),
        (["\ud800", object()], "builtins.object"),
        (nested(5000), "nested too deeply"),
        (["\ud800", nested(5000)], "nested too deeply"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_has_no_json_form_is_a_source_error_that_names_it(value: object, complaint: str) -> None:
    with pytest.raises(SourceError, match=complaint) as caught:
        encode_body(value)
    assert isinstance(caught.value, PerdureError)


@pytest.mark.parametrize(
    "text", [b"NaN", b"[Infinity]", b"\xff", b'"a\nb"', b"{'a':1}", b"", b"[1,]", b"\xef\xbb\xbf{}"]
)
def test_what_a_browser_refuses_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_body(text)
    assert parse_object(text) is None


def test_parsing_is_exact_where_browsers_round() -> None:
    assert parse_body("[9007199254740993,1e400]") == [9007199254740993, float("inf")]


def test_what_a_record_may_nest_can_be_read_and_put_into_more() -> None:
    padding = {"text": '"[[[[{{{{' * 200}
    deepest = {"a": nested(MAX_DEPTH - 2), **padding}
    body = encode_record(deepest)
    assert parse_body(body) == deepest
    assert parse_body(body.decode()) == deepest
    too_deep = {"a": nested(MAX_DEPTH - 1), **padding}
    with pytest.raises(SourceError, match="nested too deeply"):
        encode_record(too_deep)
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_body(encode_body(too_deep))


def test_deep_nesting_is_a_value_error_and_no_crash() -> None:
    with pytest.raises(ValueError, match="too deeply"):
        parse_body(b"[" * 100_000)
    assert parse_object(b'{"a":' * 100_000) is None


def test_parse_object_wants_an_object() -> None:
    assert parse_object(b'{"a":1}') == {"a": 1}
    assert parse_object(b"[1]") is None


class Celsius(Mapping[str, object]):
    def __getitem__(self, key: str) -> object:
        return {"t": 1}[key]

    def __iter__(self):  # type: ignore[no-untyped-def]  # what a mapping's keys are is clear from the base
        return iter(("t",))

    def __len__(self) -> int:
        return 1


def test_any_mapping_is_an_object() -> None:
    assert encode_body({"type": "x", "data": Celsius()}) == b'{"type":"x","data":{"t":1}}'
