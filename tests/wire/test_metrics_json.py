"""Metrics as the API writes them, and back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import BadRequest
from perdure.model.metrics import (
    AccumulationMetric,
    GaugeMetric,
    LabelMetric,
    Metric,
    MetricUnit,
    ScalarMetric,
    TimeseriesInterval,
)
from perdure.wire.metrics_json import decode_metrics, encode_metrics

names = st.text(max_size=10)
units = st.sampled_from(MetricUnit)
numbers = st.integers(0, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
points = st.lists(st.tuples(st.integers(0, 2**32 - 1), numbers), max_size=5).map(tuple)
metrics: st.SearchStrategy[Metric] = st.one_of(
    st.builds(ScalarMetric, names, units, numbers),
    st.builds(AccumulationMetric, names, units, st.sampled_from(TimeseriesInterval), points),
    st.builds(GaugeMetric, names, units, points),
    st.builds(LabelMetric, names, st.lists(names, max_size=3).map(tuple)),
)


@given(st.lists(metrics, max_size=5).map(tuple))
def test_metrics_come_back_as_they_were(given: tuple[Metric, ...]) -> None:
    assert decode_metrics(encode_metrics(given)) == given


def test_each_kind_is_an_object_with_one_key() -> None:
    given: tuple[Metric, ...] = (
        ScalarMetric("s", MetricUnit.BYTES, 1),
        AccumulationMetric("a", MetricUnit.OPERATIONS, TimeseriesInterval.HOUR, ((3600, 2), (7200, 3))),
        GaugeMetric("g", MetricUnit.BYTES, ((60, 4),)),
        LabelMetric("l", ("one", "two")),
    )
    assert json.loads(encode_metrics(given)) == {
        "values": [
            {"scalar": {"name": "s", "unit": "bytes", "value": 1}},
            {"accumulation": {"name": "a", "unit": "operations", "interval": "hour", "values": [[3600, 2], [7200, 3]]}},
            {"gauge": {"name": "g", "unit": "bytes", "values": [[60, 4]]}},
            {"label": {"name": "l", "values": ["one", "two"]}},
        ]
    }
    assert json.loads(encode_metrics(())) == {"values": []}


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b'{"values":[{}]}', b'{"values":[{"label":{"name":"l","values":[]},"scalar":{}}]}', b'{"values":1}'],
)
def test_what_is_no_set_of_metrics_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequest):
        decode_metrics(data)


def test_unknown_fields_are_ignored() -> None:
    assert decode_metrics(b'{"values":[{"label":{"name":"l","values":["x"],"new":1},"also":2}],"more":3}') == (
        LabelMetric("l", ("x",)),
    )
