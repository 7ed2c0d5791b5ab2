"""What a source yields, one item at a time, as JSON objects ready to store.

Providers and frameworks hand out dicts, models of several libraries, dataclasses, JSON text and server-sent events.
An `ItemReader` belongs to one source and turns each item into zero or more objects. Items are serialised in the
same step, because SDKs go on changing the objects that they have handed out.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, Literal, Protocol, TypeAlias

from msgspec import Struct

from ..errors import ProtocolViolation
from ..wire.sse import SseParser
from .json_body import JsonObject, SourceError, dump_model, encode_record, parse_body

KeyStyle: TypeAlias = Literal["snake", "camel"]
"""How the field names of dataclasses are written: as they are, or as camelCase."""

Accept: TypeAlias = Callable[[JsonObject], JsonObject | None]
"""An adapter's filter: the object to store in place of the given one, which it must not change, or None for none."""

DEFAULT_SDK_VERSION: Final = 6
"""The AI SDK version that pydantic-ai chunks encode themselves for, unless told otherwise."""

_DONE: Final = "[DONE]"
_BOM: Final = b"\xef\xbb\xbf"
_SSE_STARTS: Final = ("data", "event", "id", "retry", ":")
_FRAME_ENDS: Final = (b"\n\n", b"\r\r", b"\n\r\n", b"\n\r")
_SDK_PACKAGES: Final = ("anthropic.", "openai.")


class SourceChunk(Struct, frozen=True, gc=False):
    """One object of a source, and the body that stores it.

    `body` is the JSON of the moment when the item arrived. `value` may be the very object that the source handed
    out, so look at it before asking the source for more, and do not change it.
    """

    value: JsonObject
    body: bytes


class ChunkReader(Protocol):
    """Items of one source in, chunks out."""

    def chunk(self, item: JsonObject) -> SourceChunk | None:
        """The usual case, an item that is a dict; None when it is not wanted."""
        ...

    def chunks(self, item: object) -> Iterable[SourceChunk]:
        """Whatever `item` holds; raises `SourceError` if that is nothing to store."""
        ...

    def finish(self) -> Iterable[SourceChunk]:
        """What the last item left unfinished, at the end of the source."""
        ...


class ItemReader:
    """Items of one source in, chunks out.

    * `accept` drops or replaces objects before they are encoded.
    * `unwanted_types` are dropped unseen: the events that an SDK derives carry ever longer snapshots.
    * `require_type` refuses objects without a string `type`, which no chat protocol knows.
    * `key_style` and `sdk_version` are for dataclasses and for pydantic-ai's chunks.
    """

    def __init__(
        self,
        *,
        accept: Accept | None = None,
        unwanted_types: AbstractSet[str] = frozenset(),
        require_type: bool = True,
        key_style: KeyStyle = "snake",
        sdk_version: int = DEFAULT_SDK_VERSION,
    ) -> None:
        self._accept = accept
        self._unwanted_types = unwanted_types
        self._require_type = require_type
        self._key_style = key_style
        self._sdk_version = sdk_version
        self._text = _TextReader()
        # One look at a class is enough for all its instances; the table dies with the source.
        self._dumpers: dict[type, Callable[[object], object]] = {}

    def chunk(self, item: JsonObject) -> SourceChunk | None:
        """The usual case, an item that is a dict; None when the adapter does not want it."""
        if self._require_type and not isinstance(item.get("type"), str):
            raise SourceError(f"a chunk needs a string `type`, got {_shown(item)}")
        if self._unwanted_types and self._is_unwanted(item.get("type")):
            return None
        if self._accept is not None:
            accepted = self._accept(item)
            if accepted is None:
                return None
            item = accepted
        return SourceChunk(item, encode_record(item))

    def chunks(self, item: object) -> Iterator[SourceChunk]:
        """Whatever `item` holds; raises `SourceError` if it is nothing that the module's docstring names."""
        for value in self.objects(item):
            chunk = self.chunk(value)
            if chunk is not None:
                yield chunk

    def finish(self) -> Iterator[SourceChunk]:
        """What the last item left unfinished, at the end of the source."""
        for value in map(_object, self._text.finish()):
            chunk = self.chunk(value)
            if chunk is not None:
                yield chunk

    def objects(self, item: object) -> Iterable[JsonObject]:
        """The objects in `item`, before the adapter has seen them; raises as `chunks` does."""
        if isinstance(item, dict):
            return (item,)
        if isinstance(item, str | bytes | bytearray | memoryview):
            return map(_object, self._text.feed(item if isinstance(item, str | bytes) else bytes(item)))
        if self._unwanted_types and self._is_unwanted(getattr(item, "type", None)):
            return ()
        dumper = self._dumpers.get(type(item))
        if dumper is None:
            dumper = self._dumpers[type(item)] = self._dumper_for(item)
        dumped = dumper(item)
        return () if dumped is None else (_object(dumped),)

    def _is_unwanted(self, kind: object) -> bool:
        return isinstance(kind, str) and kind in self._unwanted_types

    def _dumper_for(self, item: object) -> Callable[[object], object]:
        """How to get at the JSON of items of the class of `item`; what it gives for None is dropped."""
        kind = type(item)
        if isinstance(item, Mapping):
            return _as_dict
        if _encodes_itself(item):
            return self._by_its_own_encoding
        if hasattr(kind, "model_dump") and any(base.__module__.startswith(_SDK_PACKAGES) for base in kind.__mro__):
            return _dump_sdk_model
        if dataclasses.is_dataclass(item) and not hasattr(kind, "model_dump"):
            return self._dump_dataclass
        return _dump_any_model

    def _by_its_own_encoding(self, item: object) -> object:
        """A pydantic-ai UI chunk, which encodes itself for a version of the AI SDK."""
        text: str = getattr(item, "encode")(self._sdk_version)  # noqa: B009 - the class is not known here
        return None if text == _DONE or getattr(item, "type", None) == "done" else _parse(text)

    def _dump_dataclass(self, item: object) -> object:
        """A dataclass, with its keys as the reader was told."""
        return _dataclass_fields(item, camel=self._key_style == "camel")


class _TextReader:
    """Text items in, parsed JSON out: whole JSON texts, or server-sent events cut anywhere.

    An item that starts with a brace is JSON, unless an event is unfinished: the cut may fall before a brace.
    """

    def __init__(self) -> None:
        self._parser: SseParser | None = None
        self._last = b""  # the last bytes fed, to see whether an event is unfinished

    def feed(self, text: str | bytes) -> list[object]:
        """The values that `text` completes."""
        between_frames = not self._last or self._last.endswith(_FRAME_ENDS)
        if between_frames:
            stripped = text.lstrip()
            if not stripped:
                return []
            if stripped[:1] in ("{", b"{"):
                return [_parse(text)]
        data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
        if self._parser is None:
            _check_looks_like_sse(data, text)
            self._parser = SseParser()
        return self._feed_parser(self._parser, data)

    def finish(self) -> list[object]:
        """An event whose last blank line is missing is taken if it is whole; if it was cut, parsing it raises."""
        return [] if self._parser is None else self._feed_parser(self._parser, b"\n\n")

    def _feed_parser(self, parser: SseParser, data: bytes) -> list[object]:
        """The values of the events that `data` completes."""
        self._last = (self._last + data)[-3:]
        try:
            events = parser.feed(data)
        except ProtocolViolation as exc:
            raise SourceError(f"the source's server-sent events cannot be read: {exc}") from exc
        return [_parse(event.data) for event in events if event.data != _DONE]


def _check_looks_like_sse(data: bytes, text: str | bytes) -> None:
    """Plain text would vanish without a trace in an SSE parser, which skips fields that it does not know."""
    if _BOM.startswith(data):
        return
    start = data.removeprefix(_BOM).lstrip()[:8].decode(errors="replace")
    if not any(start.startswith(name) or name.startswith(start) for name in _SSE_STARTS):
        raise SourceError(f"text is stored as a JSON object or as server-sent events, got {_shown(text)}")


def _parse(text: str | bytes) -> object:
    """The value of JSON text that the source gave."""
    try:
        return parse_body(text)
    except ValueError as exc:
        raise SourceError(f"the source gave text that is no JSON: {_shown(text)}") from exc


def _object(value: object) -> JsonObject:
    """`value`, if it is what a chunk must be."""
    if not isinstance(value, dict):
        raise SourceError(f"a chunk is a JSON object, got {_shown(value)}")
    return value


def _as_dict(item: object) -> object:
    """Any mapping as what JSON encoders know."""
    return dict(item) if isinstance(item, Mapping) else item


def _encodes_itself(item: object) -> bool:
    """Whether `item` has pydantic-ai's `encode(sdk_version)`; other libraries have other methods of that name."""
    encode = getattr(item, "encode", None)
    if not callable(encode):
        return False
    try:
        return "sdk_version" in inspect.signature(encode).parameters
    except (TypeError, ValueError):  # a builtin without a signature
        return False


def _dump_sdk_model(item: object) -> object:
    """Models of provider SDKs keep what the API sent: unknown fields, explicit nulls, and nothing else."""
    dump: Callable[..., object] = getattr(item, "model_dump")  # noqa: B009 - the class is not known here
    # No warnings: the SDKs build events that are newer than they are from classes that do not fit.
    return dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)


def _dump_any_model(item: object) -> object:
    """What an item dumps to; the last resort, so it raises for all that is no chunk."""
    dumped = None if isinstance(item, type) else dump_model(item)
    if dumped is None:
        kind = type(item)
        raise SourceError(f"a source cannot yield {kind.__module__}.{kind.__qualname__}: {_shown(item)}")
    return dumped


def _dataclass_fields(value: object, *, camel: bool) -> object:
    """A dataclass as a dict, at every depth, without the fields that are None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {
            _camel(name) if camel else name: _dataclass_fields(item, camel=camel)
            for name, item in fields
            if item is not None
        }
    if isinstance(value, dict):
        return {key: _dataclass_fields(item, camel=camel) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_dataclass_fields(item, camel=camel) for item in value]
    return value


def _camel(name: str) -> str:
    """`snake_case` as `camelCase`."""
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def _shown(value: object) -> str:
    """The beginning of `value`, for an error message."""
    try:
        text = value if isinstance(value, str) else json.dumps(value) if isinstance(value, dict) else repr(value)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
