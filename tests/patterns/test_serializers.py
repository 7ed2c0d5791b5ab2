"""Values as bytes and back."""

import subprocess
import sys
from dataclasses import dataclass, field

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import SeqNum, Stream
from perdure.patterns import (
    DeserializingReadSession,
    JsonSerializer,
    MsgpackSerializer,
    PydanticSerializer,
    Serializer,
    SerializingAppendSession,
)
from tests.patterns.soup import untimed


class Created(msgspec.Struct, tag=True):
    name: str


class Uploaded(msgspec.Struct, tag=True):
    name: str
    content: bytes


@dataclass
class Point:
    x: float
    y: float
    labels: list[str] = field(default_factory=list)


class Order(pydantic.BaseModel):
    number: int = pydantic.Field(alias="orderNumber", ge=1)
    note: str | None = None


Event = Created | Uploaded
EVENTS = st.one_of(
    st.builds(Created, st.text()),
    st.builds(Uploaded, st.text(), st.binary()),
)


@untimed
@given(EVENTS)
def test_tagged_values_come_back_as_what_they_were(event: Event) -> None:
    both: list[Serializer[Event]] = [JsonSerializer[Event](Event), MsgpackSerializer[Event](Event)]
    for serializer in both:
        assert serializer.deserialize(serializer.serialize(event)) == event


@untimed
@given(st.floats(allow_nan=False, allow_infinity=False), st.lists(st.text()))
def test_dataclasses_come_back(x: float, labels: list[str]) -> None:
    point = Point(x, -x, labels)
    for serializer in (JsonSerializer(Point), MsgpackSerializer(Point)):
        assert serializer.deserialize(serializer.serialize(point)) == point


def test_bytes_stay_bytes_in_msgpack() -> None:
    serializer = MsgpackSerializer(Uploaded)
    assert len(serializer.serialize(Uploaded("x", bytes(1000)))) < 1100


@untimed
@given(st.integers(min_value=1), st.one_of(st.none(), st.text()))
def test_pydantic_models_come_back(number: int, note: str | None) -> None:
    orders = PydanticSerializer(Order)
    order = Order(orderNumber=number, note=note)
    assert orders.deserialize(orders.serialize(order)) == order


def test_pydantic_models_have_the_names_that_they_validate() -> None:
    assert b'"orderNumber":5' in PydanticSerializer(Order).serialize(Order(orderNumber=5))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.x"):
        JsonSerializer(Point).deserialize(b'{"x":"left","y":1}')
    with pytest.raises(msgspec.DecodeError):
        MsgpackSerializer(Point).deserialize(b"\xc1")
    with pytest.raises(pydantic.ValidationError, match="orderNumber"):
        PydanticSerializer(Order).deserialize(b'{"orderNumber":0}')


async def test_a_type_adapter_of_pydantic_fits_as_it_is(stream: Stream) -> None:
    adapter = pydantic.TypeAdapter(list[int])
    async with SerializingAppendSession(stream.append_session(), adapter.dump_json) as writer:
        await writer.write([7, 8])
    async with DeserializingReadSession(stream.read_session(SeqNum(0), wait=0), adapter.validate_json) as reader:
        assert [value async for value in reader] == [[7, 8]]


def test_pydantic_is_not_needed() -> None:
    code = "import sys, perdure.patterns; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
