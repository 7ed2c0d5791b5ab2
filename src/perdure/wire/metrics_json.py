"""Usage metrics as JSON (store API, section 8.4), in both directions."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from ..errors import BadRequest
from ..model.metrics import AccumulationMetric, GaugeMetric, LabelMetric, Metric, ScalarMetric
from .strict_json import decode_json


class _MetricBody(Struct, omit_defaults=True):
    """An object with one key, which says what kind of metric it is."""

    scalar: ScalarMetric | None = None
    accumulation: AccumulationMetric | None = None
    gauge: GaugeMetric | None = None
    label: LabelMetric | None = None


class _MetricSetBody(Struct):
    values: list[_MetricBody]


_decoder: Final = msgspec.json.Decoder(_MetricSetBody)


def encode_metrics(metrics: tuple[Metric, ...]) -> bytes:
    return msgspec.json.encode(_MetricSetBody([_body(metric) for metric in metrics]))


def decode_metrics(data: bytes) -> tuple[Metric, ...]:
    """Raises `BadRequest` (`bad_json`)."""
    return tuple(map(_metric, decode_json(data, _decoder).values))


def _body(metric: Metric) -> _MetricBody:
    match metric:
        case ScalarMetric():
            return _MetricBody(scalar=metric)
        case AccumulationMetric():
            return _MetricBody(accumulation=metric)
        case GaugeMetric():
            return _MetricBody(gauge=metric)
        case LabelMetric():
            return _MetricBody(label=metric)


def _metric(body: _MetricBody) -> Metric:
    found = [metric for metric in (body.scalar, body.accumulation, body.gauge, body.label) if metric is not None]
    if len(found) != 1:
        raise BadRequest(f"a metric has one of scalar, accumulation, gauge, label; got {len(found)} of them")
    return found[0]
