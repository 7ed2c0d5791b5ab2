"""Requests to a store behind HTTP: Perdure's server, s2-lite and s2.dev alike (store API, sections 3 to 8)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote, urlencode

from ...errors import BadRequest, ProtocolViolation
from ...model.access_tokens import AccessTokenInfo
from ...model.batches import AppendAck, AppendInput, ReadBatch
from ...model.configs import BasinConfig, BasinReconfiguration, StreamConfig, StreamReconfiguration
from ...model.encryption import EncryptionKey
from ...model.limits import MAX_PAGE_ITEMS, MAX_U32, MAX_WAIT_SECS
from ...model.metrics import AccountMetricSet, BasinMetricSet, Metric, MetricSet, MetricsQuery, StreamMetricSet
from ...model.positions import SeqNum, StreamPosition, Timestamp
from ...model.reads import ReadRequest
from ...model.resources import BasinInfo, LocationInfo, Page, Provisioned, ProvisionResult, StreamInfo
from ...wire import access_tokens_json, configs_json, headers, metrics_json, protobuf, records_json, resources_json
from ...wire.s2s import Frame
from ...wire.sse import SseEvent
from ..retries import applied_tail
from ..settings import HttpSettings
from ..transport import AppendChannel, ReadChannel
from .http_append import HttpAppendChannel, check_ack
from .http_read import HttpReadChannel
from .http_requests import Answer, Call, Requests, field
from .one_at_a_time import OneAtATimeAppends
from .read_forms import S2sReads, SseReads

T = TypeVar("T")

_JSON = ((headers.CONTENT_TYPE, headers.JSON),)
_PROTOBUF = ((headers.CONTENT_TYPE, headers.PROTOBUF), (headers.ACCEPT, headers.PROTOBUF))
_S2S = ((headers.CONTENT_TYPE, headers.S2S),)
_SSE = ((headers.ACCEPT, headers.EVENT_STREAM), (headers.S2_FORMAT, b"base64"))


class HttpTransport:
    """A `Transport` over HTTP/2, and over HTTP/1.1 where that does not get through.

    Connections are made when they are needed, and made again when they are lost. Over HTTP/1.1 append sessions are
    calls one after the other, and read sessions server-sent events; everything else is the same.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self._requests: Requests = Requests(settings)

    def __repr__(self) -> str:
        return self._requests.settings.endpoints.account

    async def open(self) -> None:
        """Nothing yet: the first request connects."""

    async def aclose(self) -> None:
        await self._requests.aclose()

    # Basins ---------------------------------------------------------------------------------------

    async def list_basins(self, *, prefix: str, start_after: str, limit: int) -> Page[BasinInfo]:
        answer = await self._requests.ask(Call(b"GET", "/basins" + _page_query(prefix, start_after, limit)))
        return _read(answer, resources_json.decode_basins)

    async def create_basin(
        self, name: str, config: BasinConfig, *, location: str | None, request_token: str
    ) -> Provisioned[BasinInfo]:
        body = resources_json.encode_create_basin(resources_json.CreateBasin(name, config, location))
        call = Call(b"POST", "/basins", None, body, (*_JSON, _token_field(request_token)))
        return _provisioned(await self._requests.ask(call), resources_json.decode_basin_info)

    async def ensure_basin(self, name: str, config: BasinConfig, *, location: str | None) -> Provisioned[BasinInfo]:
        body = resources_json.encode_ensure_basin(resources_json.EnsureBasin(config, location))
        answer = await self._requests.ask(Call(b"PUT", _basin_path(name), None, body, _JSON))
        return _provisioned(answer, resources_json.decode_basin_info)

    async def get_basin_config(self, name: str) -> BasinConfig:
        return _read(await self._requests.ask(Call(b"GET", _basin_path(name))), configs_json.decode_basin_config)

    async def reconfigure_basin(self, name: str, change: BasinReconfiguration) -> BasinConfig:
        body = configs_json.encode_basin_reconfiguration(change)
        answer = await self._requests.ask(Call(b"PATCH", _basin_path(name), None, body, _JSON))
        return _read(answer, configs_json.decode_basin_config)

    async def delete_basin(self, name: str) -> None:
        await self._requests.ask(Call(b"DELETE", _basin_path(name)))

    # The account ----------------------------------------------------------------------------------

    async def list_access_tokens(self, *, prefix: str, start_after: str, limit: int) -> Page[AccessTokenInfo]:
        answer = await self._requests.ask(Call(b"GET", "/access-tokens" + _page_query(prefix, start_after, limit)))
        return _read(answer, access_tokens_json.decode_access_tokens)

    async def issue_access_token(self, wanted: AccessTokenInfo) -> str:
        body = access_tokens_json.encode_issue_request(wanted)
        call = Call(b"POST", "/access-tokens", None, body, _JSON, is_repeatable=False)
        return _read(await self._requests.ask(call), access_tokens_json.decode_secret)

    async def revoke_access_token(self, token_id: str) -> None:
        await self._requests.ask(Call(b"DELETE", f"/access-tokens/{quote(token_id, safe='')}"))

    async def account_metrics(self, metric_set: AccountMetricSet, query: MetricsQuery) -> tuple[Metric, ...]:
        return await self._metrics("/metrics", metric_set, query)

    async def basin_metrics(self, basin: str, metric_set: BasinMetricSet, query: MetricsQuery) -> tuple[Metric, ...]:
        return await self._metrics(f"/metrics/{basin}", metric_set, query)

    async def stream_metrics(
        self, basin: str, name: str, metric_set: StreamMetricSet, query: MetricsQuery
    ) -> tuple[Metric, ...]:
        return await self._metrics(f"/metrics/{basin}/{quote(name, safe='')}", metric_set, query)

    async def _metrics(self, path: str, metric_set: MetricSet, query: MetricsQuery) -> tuple[Metric, ...]:
        answer = await self._requests.ask(Call(b"GET", path + _metrics_query(metric_set, query)))
        return _read(answer, metrics_json.decode_metrics)

    async def list_locations(self) -> tuple[LocationInfo, ...]:
        return _read(await self._requests.ask(Call(b"GET", "/locations")), resources_json.decode_locations)

    async def get_default_location(self) -> LocationInfo:
        return _read(await self._requests.ask(Call(b"GET", "/locations/default")), resources_json.decode_location)

    async def set_default_location(self, name: str) -> LocationInfo:
        body = resources_json.encode_location_name(name)
        answer = await self._requests.ask(Call(b"PUT", "/locations/default", None, body, _JSON))
        return _read(answer, resources_json.decode_location)

    # Streams --------------------------------------------------------------------------------------

    async def list_streams(self, basin: str, *, prefix: str, start_after: str, limit: int) -> Page[StreamInfo]:
        answer = await self._requests.ask(Call(b"GET", "/streams" + _page_query(prefix, start_after, limit), basin))
        return _read(answer, resources_json.decode_streams)

    async def create_stream(
        self, basin: str, name: str, config: StreamConfig, *, request_token: str
    ) -> Provisioned[StreamInfo]:
        body = resources_json.encode_create_stream(resources_json.CreateStream(name, config))
        call = Call(b"POST", "/streams", basin, body, (*_JSON, _token_field(request_token)))
        return _provisioned(await self._requests.ask(call), resources_json.decode_stream_info)

    async def ensure_stream(self, basin: str, name: str, config: StreamConfig) -> Provisioned[StreamInfo]:
        body = configs_json.encode_stream_config(config)
        answer = await self._requests.ask(Call(b"PUT", _stream_path(name), basin, body, _JSON))
        return _provisioned(answer, resources_json.decode_stream_info)

    async def get_stream_config(self, basin: str, name: str) -> StreamConfig:
        answer = await self._requests.ask(Call(b"GET", _stream_path(name), basin))
        return _read(answer, configs_json.decode_stream_config)

    async def reconfigure_stream(self, basin: str, name: str, change: StreamReconfiguration) -> StreamConfig:
        body = configs_json.encode_stream_reconfiguration(change)
        answer = await self._requests.ask(Call(b"PATCH", _stream_path(name), basin, body, _JSON))
        return _read(answer, configs_json.decode_stream_config)

    async def delete_stream(self, basin: str, name: str) -> None:
        await self._requests.ask(Call(b"DELETE", _stream_path(name), basin))

    # Records --------------------------------------------------------------------------------------

    async def check_tail(self, basin: str, name: str, *, config: StreamConfig | None = None) -> StreamPosition:
        answer = await self._requests.ask(
            Call(b"GET", _records_path(name) + "/tail", basin, None, _config_field(config))
        )
        return _read(answer, records_json.decode_tail)

    async def append(
        self,
        basin: str,
        name: str,
        batch: AppendInput,
        *,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> AppendAck:
        body = protobuf.encode_append_input(batch)
        tail = applied_tail(batch.match_seq_num, len(batch.records))
        call = Call(
            b"POST",
            _records_path(name),
            basin,
            body,
            _PROTOBUF + _config_field(config),
            _secrets(key),
            is_append=True,
            applied_tail=tail,
            records=len(batch.records),
        )
        ack = _read(await self._requests.ask(call), protobuf.decode_append_ack)
        check_ack(ack, len(batch.records))  # an empty answer, say, can be read: as an acknowledgement of nothing
        return ack

    async def read(
        self,
        basin: str,
        name: str,
        request: ReadRequest,
        *,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> ReadBatch:
        path = _records_path(name) + _read_query(request)
        patience = min(math.ceil(request.wait or 0), MAX_WAIT_SECS)
        call = Call(
            b"GET", path, basin, None, _PROTOBUF[1:] + _config_field(config), _secrets(key), patience_secs=patience
        )
        return _read(await self._requests.ask(call), protobuf.decode_read_batch)

    async def open_append(
        self, basin: str, name: str, *, key: EncryptionKey | None = None, config: StreamConfig | None = None
    ) -> AppendChannel:
        if not await self._requests.carries_sessions(basin):
            return OneAtATimeAppends(
                self._requests, lambda batch: self.append(basin, name, batch, key=key, config=config)
            )
        call = Call(
            b"POST", _records_path(name), basin, None, _S2S + _config_field(config), _secrets(key), is_append=True
        )
        channel = HttpAppendChannel(self._requests, call)
        await channel.open()
        return channel

    async def open_read(
        self,
        basin: str,
        name: str,
        request: ReadRequest,
        *,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
        on_interruption: Callable[[], None],
    ) -> ReadChannel:
        secrets = _secrets(key)
        is_s2s = await self._requests.carries_sessions(basin)
        fields = (_S2S if is_s2s else _SSE) + _config_field(config)

        def call(rest: ReadRequest) -> Call:
            # What is left to read stands in the query, so there is nothing for a `last-event-id` to say.
            return Call(b"GET", _records_path(name) + _read_query(rest), basin, None, fields, secrets)

        channel: HttpReadChannel[Frame] | HttpReadChannel[SseEvent]
        if is_s2s:
            channel = HttpReadChannel(self._requests, request, call, S2sReads, on_interruption)
        else:
            channel = HttpReadChannel(self._requests, request, call, SseReads, on_interruption)
        await channel.open()
        return channel


def _basin_path(name: str) -> str:
    return f"/basins/{name}"


def _stream_path(name: str) -> str:
    return f"/streams/{quote(name, safe='')}"


def _records_path(name: str) -> str:
    return f"{_stream_path(name)}/records"


def _page_query(prefix: str, start_after: str, limit: int) -> str:
    asked: dict[str, str | int] = {}
    if prefix:
        asked["prefix"] = prefix
    if start_after:
        asked["start_after"] = start_after
    if limit != MAX_PAGE_ITEMS:
        asked["limit"] = limit
    return "?" + urlencode(asked) if asked else ""


def _metrics_query(metric_set: MetricSet, query: MetricsQuery) -> str:
    asked: list[tuple[str, str | int | None]] = [
        ("set", metric_set.value),
        ("start", query.start),
        ("end", query.end),
        ("interval", None if query.interval is None else query.interval.value),
    ]
    return "?" + urlencode([(name, value) for name, value in asked if value is not None])


def _read_query(request: ReadRequest) -> str:
    """Seconds of `wait` are whole ones in the API: a part of one is rounded up."""
    start, limits = request.start, request.limits
    name = "seq_num" if isinstance(start, SeqNum) else "timestamp" if isinstance(start, Timestamp) else "tail_offset"
    parts = [f"{name}={start.value}"]
    for what, limit in (("count", limits.count), ("bytes", limits.bytes), ("until", limits.until)):
        if limit is not None:
            parts.append(f"{what}={limit}")
    if request.clamp:
        parts.append("clamp=true")
    if request.wait is not None:
        parts.append(f"wait={min(math.ceil(request.wait), MAX_U32)}")
    return "?" + "&".join(parts)


def _token_field(request_token: str) -> tuple[bytes, bytes]:
    return headers.S2_REQUEST_TOKEN, request_token.encode()


def _config_field(config: StreamConfig | None) -> tuple[tuple[bytes, bytes], ...]:
    return () if config is None else ((headers.S2_STREAM_CONFIG, configs_json.encode_stream_config(config)),)


def _secrets(key: EncryptionKey | None) -> tuple[tuple[bytes, bytes], ...]:
    return () if key is None else ((headers.S2_ENCRYPTION_KEY, key.header_value.encode()),)


def _read(answer: Answer, decode: Callable[[bytes], T]) -> T:
    """The value in an answer. Raises `ProtocolViolation` when it holds none: the mistake is not the caller's."""
    try:
        return decode(answer.body)
    except (BadRequest, ValueError) as exc:
        raise ProtocolViolation(f"an answer that cannot be decoded: {exc}") from exc


def _provisioned(answer: Answer, decode: Callable[[bytes], T]) -> Provisioned[T]:
    """With what was done; a server that does not say so tells a creation by its status (store API, section 10.3)."""
    told = field(answer.fields, headers.S2_PROVISION_RESULT)
    try:
        result = (
            ProvisionResult(told.decode())
            if told is not None
            else ProvisionResult.CREATED
            if answer.status == 201
            else ProvisionResult.UPDATED
        )
    except ValueError:
        raise ProtocolViolation(f"an answer with an unknown {headers.S2_PROVISION_RESULT.decode()}") from None
    return Provisioned(_read(answer, decode), result)
