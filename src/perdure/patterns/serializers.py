"""Values as bytes and back: JSON, msgpack, and pydantic models.

The sessions take functions, so anything else fits as well: `str.encode` and `bytes.decode`, or the `dump_json` and
`validate_json` of a pydantic `TypeAdapter`.
"""

from __future__ import annotations

from types import UnionType
from typing import Generic, Protocol, Self, TypeVar, overload

import msgspec

Message = TypeVar("Message")


class Serializer(Protocol[Message]):
    """Both directions in one object: `serialize` is for the writer, `deserialize` for the reader."""

    def serialize(self, message: Message, /) -> bytes:
        """The message as bytes, at least one."""
        ...

    def deserialize(self, payload: bytes, /) -> Message:
        """The message again. Raises if these bytes are none."""
        ...


class JsonSerializer(Generic[Message]):
    """JSON text of what msgspec knows: its Structs, dataclasses, typed dicts, attrs classes, and plain values.

    ::

        events = JsonSerializer[Created | Renamed](Created | Renamed)  # Structs with a tag
        anything = JsonSerializer(dict[str, object])

    What does not fit the type is refused on the way back, with `msgspec.ValidationError`; what is no JSON, with
    `msgspec.DecodeError`. On the way there, msgspec raises `TypeError` for values that JSON has no form for.
    """

    @overload
    def __init__(self, kind: type[Message]) -> None: ...

    @overload
    def __init__(self, kind: UnionType) -> None: ...

    def __init__(self, kind: type[Message] | UnionType) -> None:
        """`kind`: the type of the messages."""
        self._encoder = msgspec.json.Encoder()
        self._decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(kind)

    def serialize(self, message: Message, /) -> bytes:
        return self._encoder.encode(message)

    def deserialize(self, payload: bytes, /) -> Message:
        return self._decoder.decode(payload)


class MsgpackSerializer(Generic[Message]):
    """MessagePack of the same types as `JsonSerializer`, smaller and faster; `bytes` stay bytes. Raises likewise."""

    @overload
    def __init__(self, kind: type[Message]) -> None: ...

    @overload
    def __init__(self, kind: UnionType) -> None: ...

    def __init__(self, kind: type[Message] | UnionType) -> None:
        """`kind`: the type of the messages."""
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(kind)

    def serialize(self, message: Message, /) -> bytes:
        return self._encoder.encode(message)

    def deserialize(self, payload: bytes, /) -> Message:
        return self._decoder.decode(payload)


class PydanticModel(Protocol):
    """What is needed of a pydantic model (version 2). Perdure does not need pydantic: who has a model has pydantic."""

    def model_dump_json(self, *, by_alias: bool) -> str:
        """The model as JSON text."""
        ...

    @classmethod
    def model_validate_json(cls, json_data: bytes, /) -> Self:
        """The model that a JSON text describes."""
        ...


Model = TypeVar("Model", bound=PydanticModel)


class PydanticSerializer(Generic[Model]):
    """JSON text of a pydantic model, with its validation, and with aliases as names if it has them.

    What is no such model is refused on the way back, with `pydantic.ValidationError`.
    """

    def __init__(self, model: type[Model]) -> None:
        """`model`: the class of the messages."""
        self._model: type[Model] = model

    def serialize(self, message: Model, /) -> bytes:
        # By alias, since that is the name under which a model expects a field when it validates.
        return message.model_dump_json(by_alias=True).encode()

    def deserialize(self, payload: bytes, /) -> Model:
        return self._model.model_validate_json(payload)
